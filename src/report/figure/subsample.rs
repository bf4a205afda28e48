//! Fewer lines and points where a picture holds more than one can see; its CSV is made before and keeps everything.

use super::series::{Line, Panel};

/// Lines that one plot shows, and points that one line does, at most.
const LINES: usize = 40;
const MARKS: usize = 500;

/// Keeps at most `most` of `items`: first, last, and evenly between.
fn evenly<T>(items: &mut Vec<T>, most: usize) {
    let count = items.len();
    if count <= most {
        return;
    }
    let mut index = 0;
    let mut kept = 0;
    items.retain(|_| {
        let keep = index == kept * (count - 1) / (most - 1);
        kept += usize::from(keep);
        index += 1;
        keep
    });
}

/// Takes a part of the lines of each plot and the points of each line, evenly and keeping first and last. Returns what to write
/// below the picture.
pub(super) fn subsample(panels: &mut [Panel]) -> Vec<String> {
    let lines = |panels: &[Panel]| -> usize { panels.iter().map(|panel| panel.lines.len()).sum() };
    let points = |panels: &[Panel]| -> usize {
        panels.iter().flat_map(|panel| &panel.lines).map(|line: &Line| line.spots.len()).sum()
    };
    let mut notes = Vec::new();
    let mut note = |kept: usize, all: usize, what: &str| {
        if kept < all {
            notes.push(format!("{kept} of {all} {what} are shown, evenly chosen"));
        }
    };
    let all = lines(panels);
    panels.iter_mut().for_each(|panel| evenly(&mut panel.lines, LINES));
    note(lines(panels), all, "lines");
    let all = points(panels);
    panels.iter_mut().flat_map(|panel| &mut panel.lines).for_each(|line| evenly(&mut line.spots, MARKS));
    note(points(panels), all, "points");
    notes
}

#[cfg(test)]
mod tests {
    use super::super::chart::{Chart, Spot};
    use super::super::style::Style;
    use super::*;

    /// A crowded picture keeps the ends of what it leaves out, says how much it shows, and its CSV stays whole.
    #[test]
    fn crowded_charts_are_subsampled() {
        let line = |index: usize, points: usize| Line {
            name: format!("line {index}"),
            style: Style::nth(index),
            spots: (0..points).map(|x| Spot::plain(x as f64, 50.0, String::new())).collect(),
            joined: false,
        };
        let chart = |lines: Vec<Line>| Chart {
            title: "t",
            style: Default::default(),
            x_label: "x",
            y_label: "y",
            panels: vec![Panel::new("", lines)],
            baseline: "",
            backdrop: "",
            logarithmic: false,
            floor: None,
            columns: ["x", "y"],
        };
        let mut many = chart((0..3 * LINES).map(|index| line(index, 1)).collect());
        assert_eq!(
            subsample(&mut many.panels),
            [format!("{LINES} of {} lines are shown, evenly chosen", 3 * LINES)]
        );
        let names: Vec<&str> = many.panels[0].lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!((names.len(), names[0], names[LINES - 1]), (LINES, "line 0", "line 119"));

        let crowded = chart(vec![line(0, 3 * MARKS)]).draw().unwrap().unwrap();
        assert_eq!(crowded.csv.lines().count(), 3 * MARKS + 1);
        assert!(crowded.svg.contains(&format!("{MARKS} of {} points are shown", 3 * MARKS)));
        assert!(!chart(vec![line(0, MARKS)]).draw().unwrap().unwrap().svg.contains("are shown"));
    }
}
