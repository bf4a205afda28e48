//! Binarisation and coding of one integer tensor, and the encoder's choice of starting sets.

use super::CodecError;
use super::arithmetic::{Decoder, Encoder};
use super::context::{Context, Layout, NEXT_STATE, Rates, SETS, Transitions};
use std::sync::LazyLock;

static RATES: LazyLock<Rates> = LazyLock::new(Rates::new);
static TRANSITIONS: LazyLock<Transitions> = LazyLock::new(Transitions::new);

/// Extra cost of announcing a set other than the first: three bits.
const CHOICE_COST: u64 = 98_304;
/// Contexts of the Exp-Golomb prefix; a longer prefix would not fit 32 bits.
const LONGEST_PREFIX: usize = 31;

/// The level that is coded for a value in a state of dependent quantization.
#[inline(always)]
fn level_of(value: i32, state: u8) -> i32 {
    let odd = i64::from(state & 1);
    let value = i64::from(value);
    match value {
        0 => 0,
        v if v > 0 => ((v + odd) >> 1) as i32,
        v => ((v - odd) >> 1) as i32,
    }
}

/// Feeds the bins of one level to `bin` and its bypass bits to `bypass`; returns the context class of the next value.
#[inline(always)]
fn binarise<S>(
    sink: &mut S,
    level: i32,
    base: usize,
    neighbour: usize,
    layout: Layout,
    bin: impl Fn(&mut S, usize, bool),
    bypass: impl Fn(&mut S, u32, u32),
) -> usize {
    if level == 0 {
        bin(sink, base + neighbour, false);
        return 0;
    }
    bin(sink, base + neighbour, true);
    let negative = level < 0;
    bin(sink, Layout::SIGN + neighbour, negative);
    let magnitude = level.unsigned_abs() as usize;
    let mut flag = 0;
    while flag < layout.flags {
        let more = magnitude > flag + 1;
        bin(sink, Layout::GREATER + 2 * flag + usize::from(negative), more);
        if !more {
            break;
        }
        flag += 1;
    }
    if flag == layout.flags {
        let rest = magnitude - layout.flags;
        let length = rest.ilog2();
        for prefix in 0..length as usize {
            bin(sink, layout.rest() + prefix, true);
        }
        bin(sink, layout.rest() + length as usize, false);
        bypass(sink, length, (rest - (1 << length)) as u32);
    }
    if negative { 1 } else { 2 }
}

/// Whether a context is used without dependent quantization.
fn is_used(context: usize, dependent: bool) -> bool {
    dependent || !(3..=23).contains(&context)
}

/// Bins that a context gathers before they are tried: enough to keep the estimates in registers for a while.
const GATHERED: usize = 4096;
/// Sets that are tried side by side: their dependent chains overlap.
const TOGETHER: usize = 3;

/// One context as it would be with each of the nine starting sets, and what its bins would have cost.
#[derive(Clone)]
struct Trial {
    gathered: Vec<u8>,
    fast: [usize; SETS.len()],
    slow: [usize; SETS.len()],
    costs: [u64; SETS.len()],
}

impl Trial {
    fn new() -> Self {
        Self {
            gathered: Vec::new(),
            fast: SETS.map(|set| Transitions::biased_fast(set.2)),
            slow: SETS.map(|set| Transitions::biased_slow(set.3)),
            costs: [0; SETS.len()],
        }
    }

    #[inline(always)]
    fn push(&mut self, bin: bool, transitions: &Transitions, rates: &Rates) {
        self.gathered.push(u8::from(bin));
        if self.gathered.len() >= GATHERED {
            self.advance(transitions, rates);
        }
    }

    /// Runs the gathered bins through all sets, as [`Context::update`] would.
    fn advance(&mut self, transitions: &Transitions, rates: &Rates) {
        for first in (0..SETS.len()).step_by(TOGETHER) {
            let at = |lane: usize| first + lane;
            let fast_tables: [_; TOGETHER] = std::array::from_fn(|lane| transitions.fast(SETS[at(lane)].0));
            let slow_tables: [_; TOGETHER] = std::array::from_fn(|lane| transitions.slow(SETS[at(lane)].1));
            let mut fast: [usize; TOGETHER] = std::array::from_fn(|lane| self.fast[at(lane)]);
            let mut slow: [usize; TOGETHER] = std::array::from_fn(|lane| self.slow[at(lane)]);
            let mut costs = [0u64; TOGETHER];
            for &bin in &self.gathered {
                let (bin, table) = (usize::from(bin & 1), rates.of(bin != 0));
                for lane in 0..TOGETHER {
                    costs[lane] += u64::from(table[((16 * fast[lane] + slow[lane]) >> 3) & 1023]);
                    fast[lane] = usize::from(fast_tables[lane][bin][fast[lane] & 255]);
                    slow[lane] = usize::from(slow_tables[lane][bin][slow[lane] & 4095]);
                }
            }
            for lane in 0..TOGETHER {
                (self.fast[at(lane)], self.slow[at(lane)]) = (fast[lane], slow[lane]);
                self.costs[at(lane)] += costs[lane];
            }
        }
        self.gathered.clear();
    }
}

/// For every context the set whose estimated cost is smallest.
fn choose_sets(values: &[i32], dependent: bool, layout: Layout) -> Vec<usize> {
    let mut trials = vec![Trial::new(); layout.model()];
    let (rates, transitions) = (&*RATES, &*TRANSITIONS);
    let (mut state, mut neighbour) = (0u8, 0usize);
    for &value in values {
        let level = if dependent { level_of(value, state) } else { value };
        let base = 3 * usize::from(state);
        // The reference estimates with the value before it is halved; the same choice needs the same estimate.
        neighbour = binarise(
            &mut trials,
            value,
            base,
            neighbour,
            layout,
            |trials, context, bin| trials[context].push(bin, transitions, rates),
            |_, _, _| {},
        );
        if dependent {
            state = NEXT_STATE[usize::from(state)][(level & 1) as usize];
        }
    }
    trials.iter_mut().for_each(|trial| trial.advance(transitions, rates));
    trials
        .iter()
        .map(|trial| {
            let mut best = (trial.costs[0], 0);
            for set in 1..SETS.len() {
                if trial.costs[set] + CHOICE_COST < best.0 {
                    best = (trial.costs[set] + CHOICE_COST, set);
                }
            }
            best.1
        })
        .collect()
}

/// Codes a tensor. `values` are the quantized integers (for dependent quantization before division by two).
pub(super) fn encode(encoder: &mut Encoder, values: &[i32], dependent: bool, flags: usize, choose: bool) {
    let layout = Layout { flags };
    let sets = if choose { choose_sets(values, dependent, layout) } else { vec![0; layout.model()] };
    let mut contexts = vec![Context::default(); layout.total()];
    for (index, &set) in sets.iter().enumerate().filter(|(index, _)| is_used(*index, dependent)) {
        encoder.context(&mut contexts[layout.choice()], set > 0);
        if set > 0 {
            encoder.bypass(3, set as u32 - 1);
        }
        contexts[index] = Context::from_set(set);
    }
    let (mut state, mut neighbour) = (0u8, 0usize);
    let mut sink = (encoder, contexts);
    for &value in values {
        let level = if dependent { level_of(value, state) } else { value };
        let base = 3 * usize::from(state);
        neighbour = binarise(
            &mut sink,
            level,
            base,
            neighbour,
            layout,
            |(encoder, contexts), context, bin| encoder.context(&mut contexts[context], bin),
            |(encoder, _), count, value| encoder.bypass(count, value),
        );
        if dependent {
            state = NEXT_STATE[usize::from(state)][(level & 1) as usize];
        }
    }
}

/// Decodes `count` values.
///
/// # Errors
/// When the payload ends early or a value does not fit 32 bits. Memory grows with what is decoded, not with what a
/// header claims.
pub(super) fn decode(
    decoder: &mut Decoder<'_>,
    count: usize,
    dependent: bool,
    flags: usize,
) -> Result<Vec<i32>, CodecError> {
    let layout = Layout { flags };
    let mut contexts = vec![Context::default(); layout.total()];
    for index in (0..layout.model()).filter(|index| is_used(*index, dependent)) {
        let set =
            if decoder.context(&mut contexts[layout.choice()]) { 1 + decoder.bypass(3) as usize } else { 0 };
        contexts[index] = Context::from_set(set);
    }
    let mut values = Vec::with_capacity(count.min(1 << 20));
    let (mut state, mut neighbour) = (0u8, 0usize);
    let out_of_range =
        |decoder: &Decoder<'_>| CodecError::new(decoder.offset(), "a value does not fit 32 bits");
    for index in 0..count {
        if index & 0xff == 0 && decoder.is_overrun() {
            return Err(CodecError::new(decoder.offset(), "the payload runs past its unit"));
        }
        let mut level = 0i64;
        if decoder.context(&mut contexts[3 * usize::from(state) + neighbour]) {
            let negative = decoder.context(&mut contexts[Layout::SIGN + neighbour]);
            let side = usize::from(negative);
            let mut magnitude = 1i64;
            let mut flag = 0;
            while flag < flags && decoder.context(&mut contexts[Layout::GREATER + 2 * flag + side]) {
                magnitude += 1;
                flag += 1;
            }
            if flag == flags {
                let mut length = 0;
                while decoder.context(&mut contexts[layout.rest() + length]) {
                    length += 1;
                    if length > LONGEST_PREFIX {
                        return Err(out_of_range(decoder));
                    }
                }
                magnitude += (1i64 << length) - 1 + i64::from(decoder.bypass(length as u32));
            }
            level = if negative { -magnitude } else { magnitude };
            neighbour = if negative { 1 } else { 2 };
        } else {
            neighbour = 0;
        }
        let mut value = level;
        if dependent {
            let odd = i64::from(state & 1);
            value = 2 * level - level.signum() * odd;
            state = NEXT_STATE[usize::from(state)][(level & 1) as usize];
        }
        values.push(i32::try_from(value).map_err(|_| out_of_range(decoder))?);
    }
    Ok(values)
}
