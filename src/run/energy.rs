//! Energy that the processor packages used, where the machine tells (Linux's powercap interface, usually readable by root
//! only). It is the whole machine's, whatever else ran on it.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Linux shows energy counters.
pub(super) const POWERCAP: &str = "/sys/class/powercap";

struct Zone {
    counter: PathBuf,
    /// Where the counter starts again at 0, microjoules.
    range: u64,
    last: u64,
}

/// Adds up the counters of all processor packages.
pub(super) struct Meter {
    zones: Vec<Zone>,
    microjoules: u64,
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl Meter {
    /// Starts to measure with the counters below `folder`.
    pub fn start(folder: &Path) -> Self {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let zones = entries.filter_map(|entry| {
            let zone = entry.path();
            // Cores, memory and the like are parts of a package.
            let name = fs::read_to_string(zone.join("name")).ok()?;
            let counter = zone.join("energy_uj");
            let last = name.starts_with("package").then(|| number(&counter)).flatten()?;
            Some(Zone { counter, range: number(&zone.join("max_energy_range_uj"))?, last })
        });
        Self { zones: zones.collect(), microjoules: 0 }
    }

    /// Reads the counters; needed at least once while a counter goes round, which takes many minutes.
    pub fn sample(&mut self) {
        for zone in &mut self.zones {
            let Some(now) = number(&zone.counter) else { continue };
            let used = if now >= zone.last { now - zone.last } else { (zone.range - zone.last) + now };
            self.microjoules += used;
            zone.last = now;
        }
    }

    /// Joules since the start; `None` where the machine does not tell.
    pub fn joules(&mut self) -> Option<f64> {
        self.sample();
        (!self.zones.is_empty()).then_some(self.microjoules as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packages are added up, their parts are not counted twice, and a counter that goes round is understood.
    #[test]
    fn packages_are_added_up() {
        let folder = tempfile::tempdir().unwrap();
        let put = |zone: &str, name: &str, energy: u64| {
            let zone = folder.path().join(zone);
            fs::create_dir_all(&zone).unwrap();
            fs::write(zone.join("name"), name).unwrap();
            fs::write(zone.join("max_energy_range_uj"), "1000000\n").unwrap();
            fs::write(zone.join("energy_uj"), format!("{energy}\n")).unwrap();
        };
        put("intel-rapl:0", "package-0\n", 900_000);
        put("intel-rapl:0:0", "core\n", 5);
        put("intel-rapl:1", "package-1\n", 100);
        let mut meter = Meter::start(folder.path());
        put("intel-rapl:0", "package-0\n", 400_000);
        put("intel-rapl:0:0", "core\n", 300_000);
        put("intel-rapl:1", "package-1\n", 250_100);
        assert_eq!(meter.joules(), Some(0.75));
        put("intel-rapl:1", "package-1\n", 500_100);
        assert_eq!(meter.joules(), Some(1.0));
        assert_eq!(Meter::start(&folder.path().join("nowhere")).joules(), None);
    }
}
