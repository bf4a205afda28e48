//! Adaptive probability estimates: two per context with their own rates, and the nine sets of starting state and rates
//! that an encoder chooses from.

/// Range of the less probable symbol by range class (rows) and state magnitude (columns).
#[rustfmt::skip]
pub(super) const LPS: [[u8; 32]; 8] = [
    [128, 112, 97, 84, 74, 65, 57, 50, 45, 39, 34, 30, 27, 23, 20, 18, 15, 14, 12, 11, 10, 9, 7, 7, 5, 5, 4, 4, 3, 3, 2, 2],
    [142, 125, 108, 93, 82, 72, 63, 56, 50, 43, 38, 33, 30, 26, 22, 20, 17, 16, 13, 12, 11, 10, 8, 8, 6, 6, 5, 5, 3, 3, 2, 2],
    [156, 137, 119, 103, 90, 79, 70, 61, 55, 48, 42, 37, 33, 28, 24, 22, 19, 17, 15, 13, 12, 11, 9, 9, 6, 6, 5, 5, 4, 4, 2, 2],
    [171, 150, 130, 112, 99, 87, 76, 67, 60, 52, 46, 40, 36, 31, 27, 24, 21, 19, 16, 15, 13, 12, 10, 10, 7, 7, 6, 6, 4, 4, 3, 3],
    [185, 162, 141, 121, 107, 94, 82, 73, 65, 56, 50, 43, 39, 34, 29, 26, 22, 21, 17, 16, 14, 13, 11, 11, 8, 8, 6, 6, 4, 4, 3, 3],
    [199, 175, 152, 131, 115, 101, 89, 78, 70, 61, 54, 47, 42, 36, 31, 28, 24, 22, 19, 17, 15, 14, 12, 12, 8, 8, 7, 7, 5, 5, 3, 3],
    [213, 187, 163, 140, 123, 108, 95, 84, 75, 65, 58, 50, 45, 39, 33, 30, 26, 24, 20, 18, 16, 15, 13, 13, 9, 9, 7, 7, 5, 5, 3, 3],
    [228, 200, 174, 150, 132, 116, 102, 90, 80, 70, 62, 54, 48, 42, 36, 32, 28, 26, 22, 20, 18, 16, 14, 14, 10, 10, 8, 8, 6, 6, 4, 4],
];

/// Step of an estimate by its own value, from most improbable to most probable.
const STEP: [i32; 32] = [
    2512, 2288, 2064, 1840, 1616, 1392, 1168, 944, 720, 560, 464, 368, 272, 208, 144, 80, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 0,
];

/// Starting estimates and shifts: (fast shift, slow shift, fast estimate, slow estimate).
pub(super) const SETS: [(u8, u8, i16, i16); 9] = [
    (5, 4, 0, 0),
    (5, 4, -41, -654),
    (5, 4, 95, 1519),
    (4, 5, 0, 0),
    (6, 6, 30, 482),
    (6, 6, 95, 1519),
    (6, 6, -21, -337),
    (7, 5, 0, 0),
    (7, 5, 30, 482),
];

/// One context.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Fast estimate, −127…127.
    fast: i16,
    /// Slow estimate, −2047…2047.
    slow: i16,
    fast_shift: u8,
    slow_shift: u8,
}

impl Default for Context {
    fn default() -> Self {
        Self::from_set(0)
    }
}

impl Context {
    /// The starting state of one of the nine sets.
    pub fn from_set(set: usize) -> Self {
        let (fast_shift, slow_shift, fast, slow) = SETS[set.min(SETS.len() - 1)];
        Self { fast, slow, fast_shift, slow_shift }
    }

    /// The combined state: its sign says which symbol is more probable, its magnitude how much.
    #[inline(always)]
    pub fn state(self) -> i32 {
        16 * i32::from(self.fast) + i32::from(self.slow)
    }

    /// Adapts to a coded bin.
    #[inline(always)]
    pub fn update(&mut self, bin: bool) {
        // −0 is 0, so mirroring an estimate mirrors its step.
        let sign = if bin { 1 } else { -1 };
        let fast = step((sign * i32::from(self.fast)) >> 3) >> self.fast_shift;
        let slow = step((sign * i32::from(self.slow)) >> 7) >> self.slow_shift;
        // Steps shrink towards the ends: the estimates stay in their ranges.
        self.fast += (sign * fast) as i16;
        self.slow += (sign * slow) as i16;
    }
}

/// Step of an estimate whose class is `class`, −16…15, seen from the coded symbol.
#[inline(always)]
pub(super) fn step(class: i32) -> i32 {
    STEP[((16 + class) & 31) as usize]
}

/// Where each kind of context lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Greater-than flags before the Exp-Golomb rest.
    pub flags: usize,
}

impl Layout {
    /// First context of the sign.
    pub const SIGN: usize = 24;
    /// First context of the greater-than flags.
    pub const GREATER: usize = 27;

    /// First context of the prefix of the rest.
    pub fn rest(self) -> usize {
        27 + 2 * self.flags
    }

    /// Context of the flag that announces a chosen set.
    pub fn choice(self) -> usize {
        self.rest() + 34
    }

    /// Contexts that have a chosen set.
    pub fn model(self) -> usize {
        self.rest() + 32
    }

    /// All contexts.
    pub fn total(self) -> usize {
        self.rest() + 36
    }
}

pub(super) use crate::quant::scalar::NEXT_STATE;

/// Estimated cost of a bin, in 1/32768 bit, by state.
pub(super) struct Rates {
    /// For bins 0 and 1, by [`position`](Rates::position).
    by_bin: [[u32; 1024]; 2],
}

/// Slope of the logarithm of the less probable symbol's range per state.
const SLOPE: f64 = 400.798_947;

impl Rates {
    pub fn new() -> Self {
        let costs = |position: usize| {
            let class = position as i32 - 512;
            let bits = 32_768.0 + SLOPE * (f64::from(class.abs().min(511)) + 0.5);
            let improbable = (bits + 0.5).floor() as u32;
            let probable = (-32_768.0 * (1.0 - (-bits / 32_768.0).exp2()).log2() + 0.5).floor() as u32;
            if class >= 0 { [improbable, probable] } else { [probable, improbable] }
        };
        let by_bin = [0, 1].map(|bin: usize| std::array::from_fn(|position| costs(position)[bin]));
        Self { by_bin }
    }

    /// Costs of a bin.
    #[inline(always)]
    pub fn of(&self, bin: bool) -> &[u32; 1024] {
        &self.by_bin[usize::from(bin)]
    }
}

/// Successors of both estimates by bin, for every shift in [`SETS`]: adaptation as a table. Estimates are biased to be
/// positive: fast by 128, slow by 2048; `(16 · fast + slow) / 8` of biased estimates is their place in [`Rates`].
pub(super) struct Transitions {
    /// Shifts 4–7.
    fast: Box<[[[u8; 256]; 2]; 4]>,
    /// Shifts 4–7.
    slow: Box<[[[u16; 4096]; 2]; 4]>,
}

impl Transitions {
    pub fn new() -> Self {
        let (mut fast, mut slow) = (Box::new([[[0u8; 256]; 2]; 4]), Box::new([[[0u16; 4096]; 2]; 4]));
        for shift in 4u8..8 {
            for (bin, sign) in [(0, -1i32), (1, 1)] {
                let tables = (&mut fast[usize::from(shift) - 4][bin], &mut slow[usize::from(shift) - 4][bin]);
                for (biased, next) in tables.0.iter_mut().enumerate() {
                    let value = biased as i32 - 128;
                    let moved = value + sign * (step((sign * value) >> 3) >> shift);
                    *next = (moved + 128).clamp(0, 255) as u8;
                }
                for (biased, next) in tables.1.iter_mut().enumerate() {
                    let value = biased as i32 - 2048;
                    let moved = value + sign * (step((sign * value) >> 7) >> shift);
                    *next = (moved + 2048).clamp(0, 4095) as u16;
                }
            }
        }
        Self { fast, slow }
    }

    pub fn fast(&self, shift: u8) -> &[[u8; 256]; 2] {
        &self.fast[usize::from(shift) & 3]
    }

    pub fn slow(&self, shift: u8) -> &[[u16; 4096]; 2] {
        &self.slow[usize::from(shift) & 3]
    }

    pub fn biased_fast(value: i16) -> usize {
        (i32::from(value) + 128) as usize
    }

    pub fn biased_slow(value: i16) -> usize {
        (i32::from(value) + 2048) as usize
    }
}
