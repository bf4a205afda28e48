//! The sentences at the head of the page.

use super::{compared, record};
use crate::report::verdicts::verdicts;

/// Pairs without a common range of sizes share one sentence per data set and model, below those that say something.
#[test]
fn pairs_that_cannot_be_compared_stand_together_at_the_end() {
    let mut records = Vec::new();
    for (lambda, top1, file) in [(0.0, 90.0, 100_000), (0.1, 89.0, 50_000)] {
        records.push(record("lsq", 4, lambda, 1, top1, file * 10));
        records.push(record("uniform", 4, lambda, 1, top1, file / 10));
        records.push(record("ecqx", 4, lambda, 1, top1, file));
        records.push(record("ecq", 4, lambda, 1, top1 - 1.0, file));
    }
    let of = |records| -> Vec<(String, String)> {
        verdicts(&compared(records), None).into_iter().map(|v| (v.title, v.accuracy)).collect()
    };
    let one = of(&records);
    assert_eq!(one.len(), 2, "{one:?}");
    assert_eq!(one[0].0, "ECQx and ECQ");
    assert_eq!(one[1].0, "Not compared");
    assert_eq!(
        one[1].1,
        "ECQx and each of LSQ, Uniform have no common range of sizes with at most 5 points lost: nothing to compare."
    );
    let elsewhere = records.iter().filter(|record| record.method != "ecq").cloned().map(|mut record| {
        record.model = "vgg16".into();
        record
    });
    let both: Vec<_> = records.iter().cloned().chain(elsewhere).collect();
    let titles: Vec<String> = of(&both).into_iter().map(|(title, _)| title).collect();
    assert_eq!(
        titles,
        [
            "ECQx and ECQ: cifar10, resnet20",
            "Not compared: cifar10, resnet20",
            "Not compared: cifar10, vgg16"
        ]
    );
}
