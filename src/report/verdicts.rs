//! The sentences at the head of the page: what the data support of each pair of methods.

use super::html::Verdict;
use super::statistics::{Comparison, nothing_in_common};
use indexmap::IndexMap;

/// Of all bit widths together, one for each pair of methods; pairs that cannot be compared stand together at the end, one
/// for each data set and model. `nothing`: why no methods are compared.
pub fn verdicts(compared: &[Comparison], nothing: Option<String>) -> Vec<Verdict> {
    let mut pairs: IndexMap<_, Vec<&Comparison>> = IndexMap::new();
    for c in compared.iter().filter(|c| c.bits.is_none()) {
        pairs.entry((&c.dataset, &c.model)).or_default().push(c);
    }
    let title = |methods: String, c: &Comparison| match pairs.len() {
        // The page's title says it.
        1 => methods,
        _ => format!("{methods}: {}, {}", c.dataset, c.model),
    };
    let told = pairs.values().flatten().filter(|c| c.difference.is_some()).map(|c| Verdict {
        title: title(format!("{} and {}", c.names[0], c.names[1]), c),
        accuracy: c.verdict(),
        size: c.size_verdict(),
    });
    let apart = pairs.values().filter_map(|of_pair| {
        let apart: Vec<&Comparison> = of_pair.iter().copied().filter(|c| c.difference.is_none()).collect();
        let first = apart.first()?;
        let others: Vec<&str> = apart.iter().map(|c| c.names[1].as_str()).collect();
        Some(Verdict {
            title: title("Not compared".into(), first),
            accuracy: nothing_in_common(&first.names[0], &others),
            size: None,
        })
    });
    let alone = nothing.map(|accuracy| Verdict { title: String::new(), accuracy, size: None });
    told.chain(apart).chain(alone).collect()
}
