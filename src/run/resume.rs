//! Checkpoints of one run or baseline in the store: which ones fit, when they are due, and what is told about them.

use super::provenance;
use crate::record::Session;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::train::{Checkpoints, Moment, Observer};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An epoch's end is skipped unless this many times the cost of a checkpoint has passed since the last: writing costs at
/// most a hundredth of the time, and what is lost with a skipped one is as little.
const PAYS: u32 = 100;

/// What a checkpoint belongs to, as it stands in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    /// Id of the run or baseline: specification, data and baseline.
    id: String,
    /// Content digest of the weights that the run began with.
    digest: String,
    /// Crate version.
    version: String,
    /// Who has worked on it.
    sessions: Vec<Session>,
}

struct Times {
    /// When the last checkpoint was written, or the run began.
    last: Instant,
    /// What it cost.
    cost: Duration,
    /// What all have cost.
    total: Duration,
    /// When the writing of the present one began.
    begun: Instant,
    /// Earlier processes.
    sessions: Vec<Session>,
    /// Whether a failure to write was told.
    told: bool,
}

/// Checkpoints of one run or baseline.
pub(super) struct StoredCheckpoints<'a> {
    store: &'a Store,
    id: String,
    digest: String,
    every: Duration,
    observer: &'a dyn Observer,
    start: Instant,
    started: String,
    times: Mutex<Times>,
}

impl<'a> StoredCheckpoints<'a> {
    /// Checkpoints of the run `id` that begins with weights of this digest, at every epoch's end and after `every` (zero:
    /// never between).
    pub fn new(
        store: &'a Store,
        id: &str,
        digest: &str,
        every: Duration,
        observer: &'a dyn Observer,
    ) -> Self {
        let now = Instant::now();
        let times = Times {
            last: now,
            cost: Duration::ZERO,
            total: Duration::ZERO,
            begun: now,
            sessions: Vec::new(),
            told: false,
        };
        Self {
            store,
            id: id.into(),
            digest: digest.into(),
            every,
            observer,
            start: now,
            started: provenance::now(),
            times: Mutex::new(times),
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        // A panic elsewhere leaves the times as usable as they were.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wall time that checkpoints have cost.
    pub fn total_cost(&self) -> Duration {
        self.times().total
    }

    /// The processes before this one.
    pub fn sessions(&self) -> Vec<Session> {
        self.times().sessions.clone()
    }

    fn find(&self) -> Result<Option<(About, Snapshot)>> {
        let Some((about, snapshot)) = self.store.checkpoint(&self.id)? else { return Ok(None) };
        let about: About =
            serde_json::from_value(about).map_err(|error| Error::Internal(format!("its head: {error}")))?;
        let expected = [
            (&about.id, self.id.as_str()),
            (&about.digest, &self.digest),
            (&about.version, env!("CARGO_PKG_VERSION")),
        ];
        if let Some((found, expected)) = expected.iter().find(|(found, expected)| found.as_str() != *expected)
        {
            return Err(Error::Internal(format!("it belongs to {found}, not to {expected}")));
        }
        Ok(Some((about, snapshot)))
    }

    fn ignore(&self, reason: &Error) {
        self.observer
            .note(&format!("{}: the checkpoint is ignored, training starts anew: {reason}", self.id));
    }
}

impl Checkpoints for StoredCheckpoints<'_> {
    fn load(&self) -> Option<Snapshot> {
        match self.find() {
            Ok(found) => found.map(|(about, snapshot)| {
                self.observer.note(&format!(
                    "{}: continues from a checkpoint after {:.0} s of work",
                    self.id,
                    about.sessions.iter().map(|session| session.seconds).sum::<f64>()
                ));
                self.times().sessions = about.sessions;
                snapshot
            }),
            Err(error) => {
                self.ignore(&error);
                None
            }
        }
    }

    fn reject(&self, reason: &Error) {
        self.times().sessions.clear();
        self.ignore(reason);
    }

    fn due(&self, at: Moment) -> bool {
        let mut times = self.times();
        times.begun = Instant::now();
        let passed = times.begun.duration_since(times.last);
        match at {
            Moment::Stopping => true,
            Moment::Epoch => passed >= PAYS * times.cost,
            Moment::Step => !self.every.is_zero() && passed >= self.every,
        }
    }

    fn save(&self, snapshot: &Snapshot) {
        let mut sessions = self.sessions();
        sessions.push(Session {
            started: self.started.clone(),
            host: crate::store::host(),
            program: provenance::program(),
            seconds: self.start.elapsed().as_secs_f64(),
        });
        let (id, digest, version) = (self.id.clone(), self.digest.clone(), env!("CARGO_PKG_VERSION").into());
        let written = serde_json::to_value(About { id, digest, version, sessions })
            .map_err(|error| Error::Internal(error.to_string()))
            .and_then(|about| self.store.save_checkpoint(&self.id, &about, snapshot));
        let mut times = self.times();
        if let Err(error) = written
            && !std::mem::replace(&mut times.told, true)
        {
            self.observer.note(&format!("{}: no checkpoint could be written: {error}", self.id));
        }
        times.last = Instant::now();
        let cost = times.last.duration_since(times.begun);
        times.cost = cost;
        times.total += cost;
    }
}
