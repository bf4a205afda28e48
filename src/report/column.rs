//! What a column of a table means: heading, digits, and in which direction better lies. Exporters format by it and set
//! the best value in bold by it, so a number looks the same in every format.

pub use crate::record::Better;

/// How a column is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    /// Name in data files: lower case, with the unit as its suffix.
    pub name: &'static str,
    /// Heading in tables that people read.
    pub heading: &'static str,
    /// Digits after the decimal point where people read it; data files keep full precision.
    pub decimals: usize,
    /// Direction of improvement; `None` for settings and names.
    pub better: Option<Better>,
    /// The column is multiplied by this where people read it (bytes → kB).
    pub scale: f64,
}

const fn plain(name: &'static str, heading: &'static str, decimals: usize) -> Column {
    Column { name, heading, decimals, better: None, scale: 1.0 }
}

const fn metric(name: &'static str, heading: &'static str, decimals: usize, better: Better) -> Column {
    Column { name, heading, decimals, better: Some(better), scale: 1.0 }
}

const fn kilobytes(name: &'static str, heading: &'static str) -> Column {
    Column { name, heading, decimals: 1, better: Some(Better::Lower), scale: 1e-3 }
}

/// Every column that has a meaning of its own; others are shown as they are.
const COLUMNS: &[Column] = &[
    plain("dataset", "Data", 0),
    plain("model", "Model", 0),
    plain("method", "Method", 0),
    plain("label", "Setting", 0),
    plain("bits", "Bits", 0),
    plain("lambda", "Λ", 4),
    plain("p", "p", 3),
    plain("seed", "Seed", 0),
    plain("baseline_seed", "Baseline seed", 0),
    plain("seeds", "n", 0),
    plain("point", "Working point", 0),
    plain("setting", "Setting", 0),
    plain("against", "Against", 0),
    plain("parameter", "Parameter", 0),
    plain("value", "Value", 0),
    plain("at", "At", 0),
    plain("source", "Source", 0),
    plain("differs", "What differs", 0),
    plain("status", "Status", 0),
    plain("error", "Error", 0),
    metric("top1_percent", "Top-1 %", 2, Better::Higher),
    plain("top1_std_points", "±", 2),
    metric("top5_percent", "Top-5 %", 2, Better::Higher),
    metric("validation_top1_percent", "Validation %", 2, Better::Higher),
    plain("baseline_top1_percent", "Baseline %", 2),
    plain("baseline_validation_top1_percent", "Baseline, validation %", 2),
    metric("map_percent", "mAP %", 2, Better::Higher),
    plain("map_std_points", "±", 2),
    metric("map11_percent", "mAP, 11 points, %", 2, Better::Higher),
    metric("validation_map_percent", "Validation mAP %", 2, Better::Higher),
    plain("baseline_map_percent", "Baseline mAP %", 2),
    plain("baseline_validation_map_percent", "Baseline mAP, validation %", 2),
    plain("map_low_percent", "95 % from", 2),
    plain("map_high_percent", "95 % to", 2),
    metric("change_points", "Δ, pp", 2, Better::Higher),
    metric("drop_points", "Drop, pp", 2, Better::Lower),
    metric("loss_nats", "Loss", 4, Better::Lower),
    metric("sparsity_percent", "Sparsity %", 2, Better::Higher),
    plain("sparsity_std_points", "±", 2),
    plain("reference_sparsity_percent", "Its sparsity %", 2),
    metric("entropy_bits", "Entropy, bits", 3, Better::Lower),
    kilobytes("file_bytes", "Size, kB"),
    plain("file_std_bytes", "±, bytes", 0),
    kilobytes("entropy_bound_bytes", "Entropy bound, kB"),
    kilobytes("bits_times_parameters_bytes", "Bits × weights, kB"),
    kilobytes("csr_bytes", "CSR, kB"),
    kilobytes("zstd_bytes", "zstd, kB"),
    kilobytes("xz_bytes", "xz, kB"),
    Column { name: "full_precision_bytes", heading: "Full, kB", decimals: 1, better: None, scale: 1e-3 },
    metric("compression_ratio", "CR", 1, Better::Higher),
    plain("compression_std", "±", 2),
    metric("seconds", "Time, s", 1, Better::Lower),
    plain("hours", "Hours", 2),
    metric("seconds_per_epoch", "Epoch, s", 2, Better::Lower),
    Column {
        name: "peak_memory_bytes",
        heading: "Memory, MB",
        decimals: 0,
        better: Some(Better::Lower),
        scale: 1e-6,
    },
    metric("hypervolume", "Hypervolume", 4, Better::Higher),
    plain("hypervolume_low", "95 % from", 4),
    plain("hypervolume_high", "95 % to", 4),
    plain("top1_low_percent", "95 % from", 2),
    plain("top1_high_percent", "95 % to", 2),
    Column { name: "file_low_bytes", heading: "95 % from, kB", decimals: 1, better: None, scale: 1e-3 },
    Column { name: "file_high_bytes", heading: "95 % to, kB", decimals: 1, better: None, scale: 1e-3 },
    plain("reference", "Method", 0),
    plain("other", "Compared with", 0),
    plain("parameters", "Parameters", 0),
    plain("difference_points", "Difference, pp", 2),
    plain("low_points", "95 % from", 2),
    plain("high_points", "95 % to", 2),
    plain("size_ratio", "Size ratio", 3),
    plain("size_ratio_low", "95 % from", 3),
    plain("size_ratio_high", "95 % to", 3),
    plain("verdict", "Verdict", 0),
    plain("size_verdict", "Verdict on size", 0),
    plain("train_loss_nats", "Training loss", 4),
    plain("train_top1_percent", "Training %", 2),
    plain("validation_loss_nats", "Validation loss", 4),
    plain("weights", "Weights", 0),
    plain("activation_bits", "Act. bits", 0),
    plain("first_last", "First, last layer", 0),
    plain("parameter_count", "Parameters", 0),
    metric("bits_per_weight", "Bits/weight", 2, Better::Lower),
    plain("levels_in_use", "Levels", 0),
];

/// How the column `name` is shown; `None` if it is not one with a meaning of its own.
pub fn describe(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name)
}

/// A number with a fixed count of digits, never `-0`.
pub fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_string(),
        _ => text,
    }
}

/// A difference with its sign, never `-0` or `+0`.
pub fn signed(value: f64, decimals: usize) -> String {
    let text = fixed(value, decimals);
    let zero = text.chars().all(|c| c == '0' || c == '.');
    if zero || text.starts_with('-') { text } else { format!("+{text}") }
}

/// A setting such as Λ or p without trailing zeros.
pub fn short(value: f64) -> String {
    format!("{}", (value * 1e9).round() / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drop of −0.001 points must not be printed as a negative zero: readers take the sign for a gain.
    #[test]
    fn no_negative_zero() {
        assert_eq!(fixed(-0.001, 2), "0.00");
        assert_eq!(fixed(-0.01, 2), "-0.01");
        assert_eq!([-0.004, 0.004, -0.3, 0.3].map(|v| signed(v, 2)), ["0.00", "0.00", "-0.30", "+0.30"]);
        assert_eq!(short(0.1 + 0.2), "0.3");
    }
}
