//! `ecqx status`: how far experiments are, once or as a view that follows.

use super::Global;
use super::duration::duration;
use super::experiments::{self, Selection};
use crate::error::count;
use crate::plan::{Depth, Planned, State, estimate};
use crate::run::Context;
use crate::store::ClaimInfo;
use console::{Term, truncate_str};
use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::time::{Duration, Instant};

/// Show progress: done, running where, failed, and how long the rest may take
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Follow until everything is done; on a terminal as a view that is redrawn, elsewhere one line per change
    #[arg(long)]
    watch: bool,
    /// Refresh interval, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds, requires = "watch")]
    interval: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    let valid = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    valid.ok_or_else(|| "a number of seconds from 0.1 to 86400".into())
}

/// Runs of one experiment.
struct Group {
    experiment: String,
    done: usize,
    failed: usize,
    total: usize,
}

/// Something that a process is working on.
struct Working {
    /// Experiment, label, seed.
    what: String,
    /// Epochs done and to do, where it trains and has a checkpoint.
    epochs: Option<(usize, usize)>,
    claim: ClaimInfo,
}

/// One look.
struct Overview {
    groups: Vec<Group>,
    working: Vec<Working>,
    failed: Vec<String>,
    /// Claims in the whole store whose process is gone.
    stale: usize,
    /// Live processes that work on these experiments.
    workers: usize,
    /// By one worker.
    seconds_left: Option<f64>,
}

fn name(p: &Planned) -> String {
    format!("{}: {} seed {}", p.experiment, p.run.label(), p.run.seed)
}

impl Overview {
    fn look(selection: &Selection, context: &Context) -> crate::Result<Self> {
        // Claims first: what ends between the two looks is counted as done, not as neither.
        let claims = context.store.claims()?;
        let planned = experiments::plan(selection, context, Depth::Records)?;
        let mut names = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        for p in &planned {
            let baseline = p.run.baseline.recipe().map_or(0, |recipe| recipe.epochs);
            names
                .entry(format!("baseline-{}", p.baseline))
                .or_insert_with(|| (format!("{}: baseline", p.experiment), baseline));
            if !matches!(p.state, State::Done(_)) {
                let epochs = p.run.training.as_ref().map_or(0, |training| training.epochs);
                names.insert(p.id.clone(), (name(p), epochs));
            }
            let at = groups.iter().position(|group| group.experiment == p.experiment).unwrap_or_else(|| {
                groups.push(Group { experiment: p.experiment.clone(), done: 0, failed: 0, total: 0 });
                groups.len() - 1
            });
            groups[at].total += 1;
            match p.state {
                State::Done(_) => groups[at].done += 1,
                State::Failed => groups[at].failed += 1,
                State::New => {}
            }
        }
        let stale = claims.iter().filter(|claim| claim.stale).count();
        let mut in_flight = HashMap::new();
        let working: Vec<Working> = claims
            .into_iter()
            .filter_map(|claim| {
                let (what, epochs) = names.get(&claim.id)?.clone();
                let done = (epochs > 0).then(|| context.store.epochs_so_far(&claim.id)).flatten();
                let epochs = done.as_ref().map(|done| (done.len(), epochs));
                in_flight.extend(done.map(|done| (claim.id.clone(), done)));
                Some(Working { what, epochs, claim })
            })
            .collect();
        let live = working.iter().filter(|working| !working.claim.stale);
        let workers =
            live.map(|working| (&working.claim.host, working.claim.pid)).collect::<BTreeSet<_>>().len();
        let failed = planned.iter().filter(|p| matches!(p.state, State::Failed)).map(name).collect();
        let seconds_left = estimate::seconds_left(&planned, &in_flight);
        Ok(Self { groups, working, failed, stale, workers, seconds_left })
    }

    fn sum(&self, part: fn(&Group) -> usize) -> usize {
        self.groups.iter().map(part).sum()
    }

    /// Whether nobody has anything left to do.
    fn is_over(&self) -> bool {
        self.workers == 0 && self.sum(|group| group.done + group.failed) == self.sum(|group| group.total)
    }

    fn json(&self) -> serde_json::Value {
        let running: Vec<_> = self
            .working
            .iter()
            .map(|working| {
                serde_json::json!({
                    "id": working.claim.id, "what": working.what, "host": working.claim.host,
                    "pid": working.claim.pid, "stale": working.claim.stale,
                    "epochs_done": working.epochs.map(|(done, _)| done),
                    "epochs": working.epochs.map(|(_, all)| all),
                })
            })
            .collect();
        serde_json::json!({
            "runs": self.sum(|g| g.total), "done": self.sum(|g| g.done), "failed": self.sum(|g| g.failed),
            "running": running, "stale_claims": self.stale, "workers": self.workers,
            "seconds_left": self.seconds_left,
        })
    }

    /// One line.
    fn summary(&self) -> String {
        let (done, failed, total) = (self.sum(|g| g.done), self.sum(|g| g.failed), self.sum(|g| g.total));
        format!("{done} of {} done, {failed} failed, {} being computed", count(total, "run"), self.workers)
    }

    /// The rest, for people.
    fn time_left(&self) -> Option<String> {
        let seconds = self.seconds_left?;
        Some(match self.workers {
            0 => format!("the rest takes one worker about {}", duration(seconds)),
            1 => format!("about {} left with 1 worker", duration(seconds)),
            n => format!("about {} left with {n} workers", duration(seconds / n as f64)),
        })
    }

    /// All lines; experiments as bars of `width` characters where it is more than 0.
    fn lines(&self, width: usize) -> Vec<String> {
        let mut lines = vec![self.summary()];
        let longest = self.groups.iter().map(|group| group.experiment.chars().count()).max().unwrap_or(0);
        if width > 0 {
            for group in &self.groups {
                let filled = width * group.done / group.total.max(1);
                let bar = format!("{}{}", "█".repeat(filled), "░".repeat(width - filled));
                let failed =
                    if group.failed > 0 { format!("  {} failed", group.failed) } else { String::new() };
                lines.push(format!(
                    "  {:<longest$}  {bar}  {}/{}{failed}",
                    group.experiment, group.done, group.total
                ));
            }
        }
        for working in &self.working {
            let ClaimInfo { host, pid, stale, .. } = &working.claim;
            let note = if *stale { "  (stale: its process is gone)" } else { "" };
            let epochs = working.epochs.map_or(String::new(), |(done, all)| format!("  epoch {done}/{all}"));
            lines.push(format!("  {}{epochs}  on {host} (process {pid}){note}", working.what));
        }
        lines.extend(self.failed.iter().map(|what| format!("  failed: {what}")));
        if self.stale > 0 {
            lines.push(format!(
                "{}; `ecqx store gc` removes what is stale, a run takes it over by itself",
                count(self.stale, "stale claim")
            ));
        }
        match self.time_left() {
            Some(left) => lines.push(left),
            None if self.sum(|g| g.done + g.failed) < self.sum(|g| g.total) => {
                lines.push("time left: unknown until runs of each data set and model are done".into());
            }
            None => {}
        }
        lines
    }
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<u8> {
    let context = experiments::context(&args.selection, global)?;
    if args.watch && !global.json {
        return watch(args, &context);
    }
    let overview = Overview::look(&args.selection, &context)?;
    if global.json {
        println!("{}", overview.json());
    } else {
        overview.lines(0).iter().for_each(|line| println!("{line}"));
    }
    Ok(super::DONE)
}

/// Follows until everything is over.
fn watch(args: &Args, context: &Context) -> anyhow::Result<u8> {
    let terminal = Term::stdout();
    let (start, mut last) = (Instant::now(), String::new());
    if terminal.is_term() {
        terminal.clear_screen()?;
    }
    loop {
        let overview = Overview::look(&args.selection, context)?;
        if terminal.is_term() {
            draw(&terminal, &overview, start.elapsed())?;
        } else if overview.summary() != last {
            last = overview.summary();
            let left = overview.time_left().map_or(String::new(), |left| format!("; {left}"));
            // Who reads the lines may have gone; the work goes on without this view.
            if writeln!(std::io::stdout(), "{last}{left}").is_err() {
                return Ok(super::DONE);
            }
        }
        if overview.is_over() {
            let failed = overview.sum(|group| group.failed);
            return Ok(if failed > 0 { super::FAILED } else { super::DONE });
        }
        std::thread::sleep(Duration::from_secs_f64(args.interval));
    }
}

/// Draws over the last picture; what does not fit into the window is counted.
fn draw(terminal: &Term, overview: &Overview, since: Duration) -> std::io::Result<()> {
    let (height, width) = terminal.size();
    let (height, width) = (usize::from(height).max(4), usize::from(width).max(20));
    let mut lines = overview.lines((width / 3).min(40));
    let foot = format!("watching for {}; Ctrl-C ends the view, not the work", duration(since.as_secs_f64()));
    if lines.len() + 2 > height {
        let hidden = lines.len() + 3 - height;
        lines.truncate(height.saturating_sub(3));
        lines.push(format!("… {} more", count(hidden, "line")));
    }
    lines.push(foot);
    let mut picture = String::from("\x1b[H");
    for line in &lines {
        picture += &truncate_str(line, width - 1, "…");
        picture += "\x1b[K\n";
    }
    picture += "\x1b[J";
    let mut out = std::io::stdout().lock();
    out.write_all(picture.as_bytes())?;
    out.flush()
}
