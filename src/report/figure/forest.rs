//! Paired comparisons with their intervals: the reference method against every other.

use super::dot_plot::{Dot, DotPlot, Section};
use super::style::Style;
use super::{Drawing, Figure, Group, Source};
use crate::Result;
use indexmap::IndexMap;

pub(super) static FOREST: Figure = Figure {
    name: "paired_comparisons",
    about: "accuracy of the reference method minus each other method's at equal size, paired by seed; bars: 95 % t-interval \
            (none with one seed); left of zero the other method is more accurate",
    draw: Source::Records(draw),
};

fn draw(group: &Group<'_>) -> Result<Option<Drawing>> {
    let mut sections: IndexMap<String, Vec<Dot>> = IndexMap::new();
    for comparison in &group.comparisons {
        let Some(value) = comparison.difference else { continue };
        let title = comparison.bits.map_or("all bit widths".to_owned(), |bits| format!("{bits} bit"));
        let [ours, theirs] = &comparison.names;
        sections.entry(title).or_default().push(Dot {
            label: theirs.clone(),
            detail: format!("{ours} − {theirs}"),
            value,
            bar: comparison.interval,
            seeds: comparison.seeds,
            kind: usize::from(comparison.interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0)),
        });
    }
    // Intervals of two seeds are wider than any picture: the differences decide what it shows.
    let largest = sections.values().flatten().map(|dot| dot.value.abs()).fold(0.0, f64::max);
    let limit = 2.0 * largest + 0.5;
    let names = group.comparisons.first().map(|comparison| comparison.names[0].clone()).unwrap_or_default();
    let section = |(title, dots)| Section { title, dots, line: Some(0.0) };
    DotPlot {
        title: &group.title,
        style: group.layout,
        x_label: &format!("{names} minus the other method, pp"),
        sections: sections.into_iter().map(section).collect(),
        kinds: vec![
            ("interval includes zero, or one seed", Style::nth(6)),
            ("interval excludes zero", Style::nth(1)),
        ],
        range: Some((-limit, limit)),
        column: "difference_points",
    }
    .draw()
}
