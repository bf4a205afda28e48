//! A bar that says what the colours of a picture stand for.

use super::canvas::{Area, TEXT, failed, stroke, write};
use crate::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// Height of the bar with its numbers.
pub(super) const HEIGHT: i32 = 40 + TEXT + 24;
const STEPS: i32 = 64;

/// A bar between `from` and `to`, with texts below it at shares of the way and `label` before it. `colour` gets the
/// share.
pub(super) fn draw(
    area: &Area<'_>,
    (from, to, top): (i32, i32, i32),
    label: &str,
    texts: &[(f64, String)],
    colour: impl Fn(f64) -> RGBColor,
) -> Result<()> {
    let place = |share: f64| from + ((to - from) as f64 * share).round() as i32;
    for step in 0..STEPS {
        let [left, right] = [step, step + 1].map(|step| place(f64::from(step) / f64::from(STEPS)));
        let filled = colour(f64::from(step) / f64::from(STEPS - 1)).filled();
        // Overlap: neighbours that only touch leave a white line when they are smoothed.
        area.draw(&Rectangle::new([(left, top), ((right + 2).min(to), top + 36)], filled)).map_err(failed)?;
    }
    let corners = vec![(from, top), (to, top), (to, top + 36), (from, top + 36), (from, top)];
    stroke(area, corners, RGBColor(90, 90, 90), 3)?;
    for (share, text) in texts {
        let at = place(*share);
        stroke(area, vec![(at, top + 36), (at, top + 46)], RGBColor(90, 90, 90), 3)?;
        write(area, text, (at, top + 50), TEXT, (HPos::Center, VPos::Top))?;
    }
    write(area, label, (from - 24, top + 18), TEXT, (HPos::Right, VPos::Center))
}
