//! What decides the id of a run, and what does not.

use super::*;

fn run(quantizer: Value) -> RunSpec {
    let mut quantizer = quantizer;
    let method = quantizer["method"].clone();
    let relevance = quantizer.as_object_mut().unwrap().shift_remove("relevance");
    quantizer.as_object_mut().unwrap().retain(|key, _| key != "method");
    let mut spec = serde_json::json!({
        "dataset": "embedded-audio", "model": {"name": "mlp-gsc"}, "seed": 1,
        "baseline": {"checkpoint": "x.pt"}, "training": {"epochs": 1},
        "quantizer": {"method": method, "bits": 4, "parameters": quantizer},
    });
    if let Some(relevance) = relevance {
        spec["quantizer"]["relevance"] = relevance;
    }
    serde_json::from_value::<RunSpec>(spec).unwrap().resolve(&Registry::builtin()).unwrap()
}

fn id(quantizer: Value) -> String {
    run(quantizer).id("digest", "baseline").unwrap()
}

/// Seven ways to write three runs: equal in meaning is equal in id and label.
#[test]
fn equal_meaning_has_one_id() {
    use serde_json::json;
    let ecq = [json!({"method": "ecq"}), json!({"method": "ecq", "lambda": 0.05})];
    let nearest = [json!(0), json!(0.0), json!(0e0)].map(|zero| json!({"method": "ecq", "lambda": zero}));
    let ecqx = [
        json!({"method": "ecqx"}),
        json!({"method": "ecqx", "relevance": "lrp"}),
        json!({"method": "ecqx", "relevance": {"lrp": {"start": "logit"}}, "band": "below", "momentum": 0.1}),
    ];
    let mut ids = Vec::new();
    for (entries, label) in
        [(ecq.to_vec(), "ecq 4 bit"), (nearest.to_vec(), "ecq 4 bit Λ=0"), (ecqx.to_vec(), "ecqx 4 bit")]
    {
        let found: std::collections::BTreeSet<String> = entries.iter().map(|e| id(e.clone())).collect();
        assert_eq!(found.len(), 1, "{label}");
        entries.into_iter().for_each(|entry| assert_eq!(run(entry).label(), label));
        ids.extend(found);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

/// A label tells a preset by its name, and what differs from it in the order of the parameters.
#[test]
fn labels_show_what_differs() {
    use serde_json::json;
    let label = |quantizer: Value| run(quantizer).label();
    assert_eq!(label(json!({"method": "ecqx", "p": 0.2, "lambda": 1e-1})), "ecqx 4 bit Λ=0.1 p=0.2");
    assert_eq!(label(json!({"method": "ecqx", "profile": "reference"})), "ecqx 4 bit profile=reference");
    assert_eq!(
        label(json!({"method": "ecqx", "profile": "reference", "relevance": "taylor"})),
        "ecqx 4 bit profile=reference relevance=taylor"
    );
    assert_eq!(
        label(json!({"method": "ecqx", "relevance": {"lrp": {"composite": "epsilon_plus"}}})),
        "ecqx 4 bit relevance=lrp(epsilon_plus)"
    );
}

/// Another recipe, seed, model option or revision is another run; what an optimizer does not use is not.
#[test]
fn other_meaning_has_another_id() {
    use serde_json::json;
    let base = run(json!({"method": "ecq"}));
    let id = |change: &dyn Fn(&mut RunSpec)| {
        let mut other = RunSpec { revisions: None, ..base.clone() };
        change(&mut other);
        other.resolve(&Registry::builtin()).unwrap().id("digest", "baseline").unwrap()
    };
    let same = id(&|_| {});
    assert_eq!(same, id(&|run| run.training.as_mut().unwrap().momentum = 0.5));
    assert_eq!(same, id(&|run| run.training.as_mut().unwrap().weight_decay = None));
    assert_ne!(same, id(&|run| run.training.as_mut().unwrap().epochs = 2));
    assert_eq!(same, id(&|run| run.training.as_mut().unwrap().label_smoothing = Some(0.0)));
    assert_ne!(same, id(&|run| run.training.as_mut().unwrap().label_smoothing = Some(0.1)));
    assert_ne!(same, id(&|run| run.training.as_mut().unwrap().precision = crate::train::Precision::Bf16));
    assert_ne!(same, id(&|run| run.training = None));
    assert_ne!(same, id(&|run| run.seed = 2));
    assert_ne!(same, id(&|run| drop(run.model.options.insert("dropout".into(), 0.2.into()))));
    let planned = Revisions { method: 1, numerics: NUMERICS + 1 };
    let other = RunSpec { revisions: Some(planned), ..base.clone() };
    assert!(other.resolve(&Registry::builtin()).unwrap_err().hint().unwrap().contains("plan again"));
}

/// A record of schema 1 is the run of today only where its method computes what it did then.
#[test]
fn first_records_are_of_the_first_revision() {
    let registry = Registry::builtin();
    for (method, bits, unchanged) in [("epr", Some(4), true), ("ec2t", None, false)] {
        let mut given = RunSpec { revisions: None, ..run(serde_json::json!({"method": "ecq"})) };
        given.quantizer.method = method.into();
        given.quantizer.parameters.clear();
        given.quantizer.bits = bits;
        let id = |spec: RunSpec| spec.id("digest", "baseline").unwrap();
        let (first, now) = (given.resolve_first(&registry).unwrap(), given.resolve(&registry).unwrap());
        assert_eq!(id(first) == id(now), unchanged, "{method}");
    }
}
