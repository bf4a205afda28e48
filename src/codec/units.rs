//! The units of a bitstream as they lie in it: kind, offset, size.

use super::CodecError;
use super::bits::BitReader;

/// What a unit that holds a tensor is called in [`UnitSummary`].
pub const DATA_UNIT: &str = "data unit";

/// One unit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct UnitSummary {
    /// What it holds.
    pub kind: &'static str,
    /// Offset in the stream, bytes.
    pub offset: usize,
    /// Size, its own header included, bytes.
    pub bytes: usize,
}

/// Lists the units of a stream; looks at their headers only.
///
/// # Errors
/// [`CodecError`] where a header is cut off or a size runs past the stream.
pub fn units(bytes: &[u8]) -> Result<Vec<UnitSummary>, CodecError> {
    let mut units = Vec::new();
    let mut offset = 0;
    while offset < bytes.len() {
        let mut fields = BitReader::new(bytes, offset, bytes.len());
        let long = fields.flag()?;
        let size = fields.fixed(if long { 31 } else { 15 })? as usize;
        let kind = match fields.fixed(6)? {
            0 => "start unit",
            1 => "parameter set",
            3 => "topology",
            5 => DATA_UNIT,
            _ => "other unit",
        };
        let end = offset.checked_add(size).filter(|end| *end <= bytes.len() && *end > offset);
        let end = end.ok_or_else(|| CodecError::new(offset, "a unit's size does not fit the stream"))?;
        units.push(UnitSummary { kind, offset, bytes: size });
        offset = end;
    }
    Ok(units)
}
