//! The sentences at the head of the page: what the data support of each pair of methods.

use super::html::Verdict;
use super::statistics::{Comparison, nothing_in_common};
use indexmap::{IndexMap, IndexSet};

/// Of all bit widths together, one for each pair of methods; pairs that cannot be compared stand together at the end, one
/// for each data set and model. `nothing`: why no methods are compared.
pub fn verdicts(compared: &[Comparison], nothing: Option<String>) -> Vec<Verdict> {
    let overall: Vec<&Comparison> = compared.iter().filter(|comparison| comparison.bits.is_none()).collect();
    let pairs: IndexSet<_> = overall.iter().map(|c| (&c.dataset, &c.model)).collect();
    let title = |methods: String, c: &Comparison| match pairs.len() {
        // The page's title says it.
        1 => methods,
        _ => format!("{methods}: {}, {}", c.dataset, c.model),
    };
    let (told, apart): (Vec<&Comparison>, Vec<&Comparison>) =
        overall.iter().partition(|c| c.difference.is_some());
    let told = told.into_iter().map(|c| Verdict {
        title: title(format!("{} and {}", c.names[0], c.names[1]), c),
        accuracy: c.verdict(),
        size: c.size_verdict(),
    });
    let mut groups: IndexMap<_, Vec<&Comparison>> = IndexMap::new();
    for c in apart {
        groups.entry((&c.dataset, &c.model)).or_default().push(c);
    }
    let apart = groups.into_values().filter_map(|group| {
        let first = group.first()?;
        let others: Vec<&str> = group.iter().map(|c| c.names[1].as_str()).collect();
        Some(Verdict {
            title: title("Not compared".into(), first),
            accuracy: nothing_in_common(&first.names[0], &others),
            size: None,
        })
    });
    let alone = nothing.map(|accuracy| Verdict { title: String::new(), accuracy, size: None });
    told.chain(apart).chain(alone).collect()
}
