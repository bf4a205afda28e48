//! Element types of other programs' files, and their values as f32, i32 or i64.

use candle_core::{Device, Tensor};

/// Element type of stored values, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F64,
    F32,
    F16,
    BF16,
    F8E4M3,
    F8E5M2,
    F8E4M3Fnuz,
    F8E5M2Fnuz,
    F8E8M0,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    Complex32,
    Complex64,
    Complex128,
}

/// How a small float is laid out: bits of exponent and mantissa, bias, and what its highest codes mean.
struct Small {
    exponent: u32,
    mantissa: u32,
    bias: i32,
    special: Special,
}

enum Special {
    /// Infinities and NaN as in IEEE 754.
    Ieee,
    /// All ones is NaN, no infinity.
    OnesAreNan,
    /// Negative zero is NaN, no infinity.
    MinusZeroIsNan,
}

impl Kind {
    /// Bytes of one value.
    pub(super) fn size(self) -> usize {
        use Kind::*;
        match self {
            F8E4M3 | F8E5M2 | F8E4M3Fnuz | F8E5M2Fnuz | F8E8M0 | I8 | U8 | Bool => 1,
            F16 | BF16 | I16 | U16 => 2,
            F32 | I32 | U32 | Complex32 => 4,
            F64 | I64 | U64 | Complex64 => 8,
            Complex128 => 16,
        }
    }

    /// PyTorch's name.
    pub(super) fn name(self) -> &'static str {
        use Kind::*;
        match self {
            F64 => "float64",
            F32 => "float32",
            F16 => "float16",
            BF16 => "bfloat16",
            F8E4M3 => "float8_e4m3fn",
            F8E5M2 => "float8_e5m2",
            F8E4M3Fnuz => "float8_e4m3fnuz",
            F8E5M2Fnuz => "float8_e5m2fnuz",
            F8E8M0 => "float8_e8m0fnu",
            I64 => "int64",
            I32 => "int32",
            I16 => "int16",
            I8 => "int8",
            U64 => "uint64",
            U32 => "uint32",
            U16 => "uint16",
            U8 => "uint8",
            Bool => "bool",
            Complex32 => "complex32",
            Complex64 => "complex64",
            Complex128 => "complex128",
        }
    }

    /// By PyTorch's name, `torch.float16` or `torch.half` without the module.
    pub(super) fn from_torch(name: &str) -> Option<Self> {
        use Kind::*;
        Some(match name {
            "float" => F32,
            "double" => F64,
            "half" => F16,
            "long" => I64,
            "int" => I32,
            "short" => I16,
            "cfloat" => Complex64,
            "cdouble" => Complex128,
            "chalf" => Complex32,
            _ => *ALL.iter().find(|kind| kind.name() == name)?,
        })
    }

    /// By the name of PyTorch's typed storage; what is quantized has its integers' type.
    pub(super) fn from_storage(class: &str) -> Option<Self> {
        use Kind::*;
        Some(match class.strip_suffix("Storage")? {
            "Double" => F64,
            "Float" => F32,
            "Half" => F16,
            "BFloat16" => BF16,
            "Long" => I64,
            "Int" | "QInt32" => I32,
            "Short" => I16,
            "Char" | "QInt8" => I8,
            "Byte" | "QUInt8" | "Untyped" | "_Untyped" => U8,
            "Bool" => Bool,
            "ComplexFloat" => Complex64,
            "ComplexDouble" => Complex128,
            _ => return None,
        })
    }

    /// By numpy's letters, such as `f4`; byte order apart.
    pub(super) fn from_numpy(code: &str) -> Option<Self> {
        use Kind::*;
        Some(match code {
            "f8" => F64,
            "f4" => F32,
            "f2" => F16,
            "i8" => I64,
            "i4" => I32,
            "i2" => I16,
            "i1" => I8,
            "u8" => U64,
            "u4" => U32,
            "u2" => U16,
            "u1" => U8,
            "b1" => Bool,
            "c8" => Complex64,
            "c16" => Complex128,
            _ => return None,
        })
    }

    /// By the type of the safetensors format; `None` for types that no program can use yet (fractions of bytes).
    pub(super) fn from_safetensors(kind: safetensors::Dtype) -> Option<Self> {
        use Kind::*;
        use safetensors::Dtype;
        Some(match kind {
            Dtype::F64 => F64,
            Dtype::F32 => F32,
            Dtype::F16 => F16,
            Dtype::BF16 => BF16,
            Dtype::F8_E4M3 => F8E4M3,
            Dtype::F8_E5M2 => F8E5M2,
            Dtype::F8_E4M3FNUZ => F8E4M3Fnuz,
            Dtype::F8_E5M2FNUZ => F8E5M2Fnuz,
            Dtype::F8_E8M0 => F8E8M0,
            Dtype::I64 => I64,
            Dtype::I32 => I32,
            Dtype::I16 => I16,
            Dtype::I8 => I8,
            Dtype::U64 => U64,
            Dtype::U32 => U32,
            Dtype::U16 => U16,
            Dtype::U8 => U8,
            Dtype::BOOL => Bool,
            Dtype::C64 => Complex64,
            _ => return None,
        })
    }

    /// Whether values are real numbers with a fraction.
    pub(super) fn is_float(self) -> bool {
        use Kind::*;
        matches!(self, F64 | F32 | F16 | BF16 | F8E4M3 | F8E5M2 | F8E4M3Fnuz | F8E5M2Fnuz | F8E8M0)
    }

    /// Row-major values as numbers, for scales, zero points and integers behind quantized values.
    pub(super) fn numbers(self, raw: &[u8]) -> Result<Vec<f64>, String> {
        use Kind::*;
        Ok(match self {
            F64 => words(raw).map(f64::from_le_bytes).collect(),
            I64 => words(raw).map(|bytes| i64::from_le_bytes(bytes) as f64).collect(),
            _ if self.is_float() => self.floats(raw).into_iter().map(f64::from).collect(),
            _ => self.integers(raw)?.into_iter().map(|value| value as f64).collect(),
        })
    }

    /// Row-major values as a tensor: floats as f32; integers of 32 signed bits and less, and truth values, as i32; the
    /// others as i64.
    pub(super) fn tensor(self, raw: &[u8], shape: &[usize]) -> Result<Tensor, String> {
        use Kind::*;
        let made = match self {
            _ if self.is_float() => Tensor::from_vec(self.floats(raw), shape, &Device::Cpu),
            I64 | U64 | U32 => Tensor::from_vec(self.integers(raw)?, shape, &Device::Cpu),
            Complex32 | Complex64 | Complex128 => {
                return Err(format!("{} is not read: real numbers are", self.name()));
            }
            _ => {
                let narrow = self.integers(raw)?.into_iter().map(|value| value as i32).collect();
                Tensor::from_vec::<_, i32>(narrow, shape, &Device::Cpu)
            }
        };
        made.map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    fn floats(self, raw: &[u8]) -> Vec<f32> {
        use Kind::*;
        match self {
            F32 => words(raw).map(f32::from_le_bytes).collect(),
            F64 => words(raw).map(|bytes| f64::from_le_bytes(bytes) as f32).collect(),
            BF16 => words(raw).map(|b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)).collect(),
            F16 => words(raw).map(|b| small(u16::from_le_bytes(b).into(), &HALF)).collect(),
            F8E4M3 => raw.iter().map(|&byte| small(byte.into(), &E4M3)).collect(),
            F8E5M2 => raw.iter().map(|&byte| small(byte.into(), &E5M2)).collect(),
            F8E4M3Fnuz => raw.iter().map(|&byte| small(byte.into(), &E4M3_FNUZ)).collect(),
            F8E5M2Fnuz => raw.iter().map(|&byte| small(byte.into(), &E5M2_FNUZ)).collect(),
            F8E8M0 => raw.iter().map(|&byte| power_of_two(byte)).collect(),
            _ => Vec::new(),
        }
    }

    fn integers(self, raw: &[u8]) -> Result<Vec<i64>, String> {
        use Kind::*;
        Ok(match self {
            I64 => words(raw).map(i64::from_le_bytes).collect(),
            U64 => words(raw)
                .map(|bytes| i64::try_from(u64::from_le_bytes(bytes)))
                .collect::<Result<_, _>>()
                .map_err(|_| "a uint64 value does not fit 63 bits, which is all that is read")?,
            I32 => words(raw).map(|bytes| i32::from_le_bytes(bytes).into()).collect(),
            U32 => words(raw).map(|bytes| u32::from_le_bytes(bytes).into()).collect(),
            I16 => words(raw).map(|bytes| i16::from_le_bytes(bytes).into()).collect(),
            U16 => words(raw).map(|bytes| u16::from_le_bytes(bytes).into()).collect(),
            I8 => raw.iter().map(|&byte| (byte as i8).into()).collect(),
            Bool => raw.iter().map(|&byte| (byte != 0).into()).collect(),
            U8 => raw.iter().map(|&byte| byte.into()).collect(),
            _ => return Err(format!("{} holds no integers", self.name())),
        })
    }
}

const ALL: [Kind; 21] = [
    Kind::F64,
    Kind::F32,
    Kind::F16,
    Kind::BF16,
    Kind::F8E4M3,
    Kind::F8E5M2,
    Kind::F8E4M3Fnuz,
    Kind::F8E5M2Fnuz,
    Kind::F8E8M0,
    Kind::I64,
    Kind::I32,
    Kind::I16,
    Kind::I8,
    Kind::U64,
    Kind::U32,
    Kind::U16,
    Kind::U8,
    Kind::Bool,
    Kind::Complex32,
    Kind::Complex64,
    Kind::Complex128,
];

const HALF: Small = Small { exponent: 5, mantissa: 10, bias: 15, special: Special::Ieee };
const E4M3: Small = Small { exponent: 4, mantissa: 3, bias: 7, special: Special::OnesAreNan };
const E5M2: Small = Small { exponent: 5, mantissa: 2, bias: 15, special: Special::Ieee };
const E4M3_FNUZ: Small = Small { exponent: 4, mantissa: 3, bias: 8, special: Special::MinusZeroIsNan };
const E5M2_FNUZ: Small = Small { exponent: 5, mantissa: 2, bias: 16, special: Special::MinusZeroIsNan };

fn words<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    raw.as_chunks::<N>().0.iter().copied()
}

/// The value of a code of at most 16 bits; exact in f32.
fn small(code: u32, layout: &Small) -> f32 {
    let Small { exponent: exponent_bits, mantissa: mantissa_bits, bias, special } = layout;
    let sign = if code >> (exponent_bits + mantissa_bits) & 1 == 1 { -1.0 } else { 1.0 };
    let (highest, ones) = ((1 << exponent_bits) - 1, (1 << mantissa_bits) - 1);
    let (exponent, mantissa) = (code >> mantissa_bits & highest, code & ones);
    match special {
        Special::Ieee if exponent == highest => {
            return if mantissa == 0 { sign * f32::INFINITY } else { f32::NAN };
        }
        Special::OnesAreNan if exponent == highest && mantissa == ones => return f32::NAN,
        Special::MinusZeroIsNan if sign < 0.0 && exponent == 0 && mantissa == 0 => return f32::NAN,
        _ => {}
    }
    let (digits, power) = match exponent {
        0 => (mantissa, 1 - bias),
        _ => (mantissa | 1 << mantissa_bits, exponent as i32 - bias),
    };
    sign * digits as f32 * 2f32.powi(power - *mantissa_bits as i32)
}

/// 2^(code − 127); the highest code is NaN.
fn power_of_two(code: u8) -> f32 {
    match code {
        0 => 2f32.powi(-127),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(code) << 23),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smallest, largest and special codes of every small float have the values of their standards.
    #[test]
    fn small_floats() {
        let half = |code: u16| Kind::F16.floats(&code.to_le_bytes())[0];
        assert_eq!([half(0x3c00), half(0xc000), half(1), half(0x7bff)], [1.0, -2.0, 2f32.powi(-24), 65504.0]);
        assert_eq!(half(0x7c00), f32::INFINITY);
        assert!(half(0x7e00).is_nan());
        let eight = |kind: Kind, code: u8| kind.floats(&[code])[0];
        assert_eq!(
            [eight(Kind::F8E4M3, 0x38), eight(Kind::F8E4M3, 0x7e), eight(Kind::F8E4M3, 1)],
            [1.0, 448.0, 2f32.powi(-9)]
        );
        assert!(eight(Kind::F8E4M3, 0x7f).is_nan());
        assert_eq!([eight(Kind::F8E5M2, 0x3c), eight(Kind::F8E5M2, 0x7b)], [1.0, 57344.0]);
        assert_eq!(eight(Kind::F8E5M2, 0xfc), f32::NEG_INFINITY);
        assert_eq!([eight(Kind::F8E4M3Fnuz, 0x40), eight(Kind::F8E4M3Fnuz, 0x7f)], [1.0, 240.0]);
        assert!(eight(Kind::F8E5M2Fnuz, 0x80).is_nan());
        assert_eq!([eight(Kind::F8E8M0, 127), eight(Kind::F8E8M0, 0)], [1.0, 2f32.powi(-127)]);
        assert_eq!(Kind::BF16.floats(&0xc040u16.to_le_bytes())[0], -3.0);
    }

    /// Integers keep their values at both ends of their range, and what does not fit is said.
    #[test]
    fn integers() {
        assert_eq!(Kind::I8.integers(&[0x80, 0x7f]).unwrap(), [-128, 127]);
        assert_eq!(Kind::U16.integers(&[0xff, 0xff]).unwrap(), [65535]);
        assert_eq!(Kind::U32.integers(&[0xff; 4]).unwrap(), [4_294_967_295]);
        assert_eq!(Kind::Bool.integers(&[0, 1, 7]).unwrap(), [0, 1, 1]);
        assert!(Kind::U64.integers(&[0xff; 8]).unwrap_err().contains("uint64"));
        assert!(Kind::Complex64.tensor(&[0; 8], &[1]).unwrap_err().contains("complex64"));
    }
}
