//! What one run may use, in words that every engine understands: `cpus=2,gpus=0.5,memory=4G,time=2h`.

use crate::error::did_you_mean;
use crate::{Error, Result};
use std::str::FromStr;

/// Resources of one run. What is absent is left to the engine's own default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// Cores; also the number of computing threads.
    pub cpus: Option<usize>,
    /// Graphics processors; below 1 a share of one.
    pub gpus: Option<f64>,
    /// Main memory, mebibytes.
    pub memory: Option<u64>,
    /// Wall time, seconds.
    pub time: Option<u64>,
}

const KEYS: [&str; 4] = ["cpus", "gpus", "memory", "time"];

impl FromStr for Resources {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut resources = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let wrong = |expected: &str| {
                Error::input_hint(format!("--resources: {key}: '{value}' is not {expected}"), EXAMPLE)
            };
            match key {
                "cpus" => {
                    let cpus = value.parse().ok().filter(|cpus| (1..=4096).contains(cpus));
                    resources.cpus = Some(cpus.ok_or_else(|| wrong("a whole number from 1 to 4096"))?);
                }
                "gpus" => {
                    let gpus = value.parse().ok().filter(|gpus: &f64| (0.0..=64.0).contains(gpus));
                    resources.gpus =
                        Some(gpus.ok_or_else(|| wrong("a number from 0 to 64"))?).filter(|g| *g > 0.0);
                }
                "memory" => {
                    resources.memory = Some(memory(value).ok_or_else(|| wrong("a size such as 800M or 4G"))?);
                }
                "time" => {
                    resources.time =
                        Some(time(value).ok_or_else(|| wrong("a time such as 90m, 2h or 01:30:00"))?);
                }
                _ => {
                    return Err(Error::Input {
                        message: format!("--resources: there is no '{key}'"),
                        hint: did_you_mean(key, KEYS).or_else(|| Some(EXAMPLE.into())),
                    });
                }
            }
        }
        Ok(resources)
    }
}

const EXAMPLE: &str = "for example --resources cpus=2,gpus=0.5,memory=4G,time=2h";

/// `800M`, `4G`, `1T` as mebibytes.
fn memory(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let factor = match unit.to_ascii_uppercase() {
        'M' => 1.0,
        'G' => 1024.0,
        'T' => 1024.0 * 1024.0,
        _ => return None,
    };
    let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
    let mebibytes = (number * factor).ceil();
    (1.0..1e9).contains(&mebibytes).then_some(mebibytes as u64)
}

/// `45s`, `90m`, `2h`, `1d`, `01:30:00` as seconds.
fn time(text: &str) -> Option<u64> {
    if text.contains(':') {
        let parts: Vec<u64> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let [hours, minutes, seconds] = parts[..] else { return None };
        let valid = minutes < 60 && seconds < 60 && hours < 100_000;
        return valid.then_some(hours * 3600 + minutes * 60 + seconds).filter(|total| *total > 0);
    }
    let unit = text.chars().last()?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u64 = text.strip_suffix(unit)?.parse().ok().filter(|number| (1..100_000).contains(number))?;
    Some(number * factor)
}

/// Seconds as `HH:MM:SS`.
pub(super) fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every unit, and the engine-independent meaning of each key.
    #[test]
    fn resources_are_read() {
        let all: Resources = "cpus=2, gpus=0.5,memory=1.5G,time=01:30:00".parse().unwrap();
        let expected = Resources { cpus: Some(2), gpus: Some(0.5), memory: Some(1536), time: Some(5400) };
        assert_eq!(all, expected);
        assert_eq!("time=90m,memory=800m".parse::<Resources>().unwrap().time, Some(5400));
        assert_eq!("".parse::<Resources>().unwrap(), Resources::default());
        assert_eq!("gpus=0".parse::<Resources>().unwrap().gpus, None);
        assert_eq!(clock(93_784), "26:03:04");
    }

    /// A mistake names the key and the way out.
    #[test]
    fn mistakes_are_named() {
        let hint = |text: &str| text.parse::<Resources>().unwrap_err().hint().unwrap_or_default().to_string();
        assert!(hint("cpu=2").contains("did you mean 'cpus'"));
        for wrong in
            ["cpus=0", "cpus=two", "gpus=-1", "gpus=nan", "memory=4", "memory=", "time=2", "time=1:99:00"]
        {
            assert!(wrong.parse::<Resources>().is_err(), "{wrong}");
        }
    }
}
