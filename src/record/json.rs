//! The file format of records: one flat JSON object, whose fields are those of a finished run and of a failed one side by
//! side. Field names, their order and which of them may be absent are stable.

use super::{
    EpochMetrics, Failure, LayerRecord, Measurements, Metrics, Outcome, Provenance, RunRecord, Session, Sizes,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Attempts of a record that does not count them.
fn once() -> u32 {
    1
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Done,
    Failed,
}

/// A record as it stands in the file.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Flat {
    schema: u32,
    id: String,
    experiment: String,
    dataset: String,
    model: String,
    method: String,
    label: String,
    bits: Option<u32>,
    /// Absent in records of schema 1 and early ones of schema 2, which have `lambda` and `p` beside the specification.
    parameters: Option<Map<String, Value>>,
    #[serde(default, skip_serializing)]
    lambda: Option<f64>,
    #[serde(default, skip_serializing)]
    p: Option<f64>,
    seed: u64,
    spec: Value,
    status: Status,
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log: Vec<String>,
    #[serde(default = "once")]
    attempts: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    interrupted: Vec<Session>,
    warnings: Vec<String>,
    selection: String,
    baseline: Option<Metrics>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    baseline_validation: Option<Metrics>,
    test: Option<Metrics>,
    validation: Option<Metrics>,
    sparsity: Option<f64>,
    entropy: Option<f64>,
    layers: Vec<LayerRecord>,
    sizes: Option<Sizes>,
    epochs: Vec<EpochMetrics>,
    seconds: f64,
    peak_memory: Option<u64>,
    provenance: Provenance,
}

/// A record that says `done` and lacks what a finished run has.
#[derive(Debug, thiserror::Error)]
#[error("run {id}: its status is 'done', but '{field}' is missing")]
pub(super) struct Incomplete {
    id: String,
    field: &'static str,
}

impl Flat {
    /// The method's parameters of a record that does not hold them apart.
    fn earlier_parameters(&self) -> Map<String, Value> {
        let given = self.spec.pointer("/quantizer/parameters").and_then(Value::as_object);
        let mut parameters = given.cloned().unwrap_or_default();
        for (name, value) in [("lambda", self.lambda), ("p", self.p)] {
            if let (Some(value), false) = (value, parameters.contains_key(name)) {
                parameters.insert(name.into(), value.into());
            }
        }
        parameters
    }
}

impl TryFrom<Flat> for RunRecord {
    type Error = Incomplete;

    fn try_from(mut flat: Flat) -> Result<Self, Incomplete> {
        let parameters = flat.parameters.take().unwrap_or_else(|| flat.earlier_parameters());
        let missing = |field| Incomplete { id: flat.id.clone(), field };
        let outcome = match flat.status {
            Status::Done => Outcome::Done(Box::new(Measurements {
                test: flat.test.ok_or_else(|| missing("test"))?,
                validation: flat.validation,
                sparsity: flat.sparsity.ok_or_else(|| missing("sparsity"))?,
                entropy: flat.entropy,
                layers: flat.layers,
                sizes: flat.sizes.ok_or_else(|| missing("sizes"))?,
            })),
            Status::Failed => {
                Outcome::Failed(Failure { error: flat.error.unwrap_or_default(), log: flat.log })
            }
        };
        Ok(Self {
            schema: flat.schema,
            id: flat.id,
            experiment: flat.experiment,
            dataset: flat.dataset,
            model: flat.model,
            method: flat.method,
            label: flat.label,
            bits: flat.bits,
            parameters,
            seed: flat.seed,
            spec: flat.spec,
            outcome,
            attempts: flat.attempts,
            interrupted: flat.interrupted,
            warnings: flat.warnings,
            selection: flat.selection,
            baseline: flat.baseline,
            baseline_validation: flat.baseline_validation,
            epochs: flat.epochs,
            seconds: flat.seconds,
            peak_memory: flat.peak_memory,
            provenance: flat.provenance,
        })
    }
}

impl From<RunRecord> for Flat {
    fn from(record: RunRecord) -> Self {
        let (status, measured, failure) = match record.outcome {
            Outcome::Done(measured) => (Status::Done, Some(*measured), None),
            Outcome::Failed(failure) => (Status::Failed, None, Some(failure)),
        };
        let (error, log) = failure.map_or((None, Vec::new()), |failure| (Some(failure.error), failure.log));
        let (mut test, mut validation, mut sparsity, mut entropy) = (None, None, None, None);
        let (mut layers, mut sizes) = (Vec::new(), None);
        if let Some(measured) = measured {
            (test, validation) = (Some(measured.test), measured.validation);
            (sparsity, entropy) = (Some(measured.sparsity), measured.entropy);
            (layers, sizes) = (measured.layers, Some(measured.sizes));
        }
        Self {
            schema: record.schema,
            id: record.id,
            experiment: record.experiment,
            dataset: record.dataset,
            model: record.model,
            method: record.method,
            label: record.label,
            bits: record.bits,
            parameters: Some(record.parameters),
            lambda: None,
            p: None,
            seed: record.seed,
            spec: record.spec,
            status,
            error,
            log,
            attempts: record.attempts,
            interrupted: record.interrupted,
            warnings: record.warnings,
            selection: record.selection,
            baseline: record.baseline,
            baseline_validation: record.baseline_validation,
            test,
            validation,
            sparsity,
            entropy,
            layers,
            sizes,
            epochs: record.epochs,
            seconds: record.seconds,
            peak_memory: record.peak_memory,
            provenance: record.provenance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = r#"{"schema":1,"id":"a","experiment":"e","dataset":"d","model":"m","method":"ecqx","label":"l","bits":4,"parameters":{"lambda":0.1,"p":0.2,"band":"below"},"seed":3,"spec":{"quantizer":{"parameters":{"lambda":0.1,"p":0.2,"band":"below"}}},"status":"done","error":null,"attempts":1,"warnings":["w"],"selection":"last epoch","baseline":{"top1":90.0,"top5":null,"loss":0.3,"n":10},"test":{"top1":89.0,"top5":99.0,"loss":0.4,"n":10},"validation":null,"sparsity":0.25,"entropy":1.5,"layers":[{"name":"fc","shape":[2,2],"weights":4,"zeros":1,"levels_in_use":3,"entropy":1.5,"step":0.5,"bytes":9}],"sizes":{"file":40,"full_precision":160,"entropy_bound":1.5,"bits_times_parameters":2.0,"csr":null,"zstd":5,"xz":null},"epochs":[{"epoch":1,"train_loss":1.0,"train_top1":80.0,"validation_top1":null,"validation_loss":null,"sparsity":0.2,"learning_rate":0.001,"seconds":2.0}],"seconds":5.0,"peak_memory":7,"provenance":{"git_revision":null,"git_dirty":false,"git_changes":null,"folder_revision":null,"version":"0","rustc":"r","features":[],"cpu":"c","device":"cpu","threads":2,"host":"h","dataset_digest":"d","baseline_digest":"b","command":["ecqx"],"started":"s","finished":"f","checkpoint_seconds":0.0,"energy_joules":null}}"#;

    /// The file format is what committed records have: a finished and a failed record come back byte for byte.
    #[test]
    fn records_keep_their_format() {
        let record: RunRecord = serde_json::from_str(DONE).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), DONE);
        assert_eq!(record.sizes().unwrap().compression_ratio(), 4.0);
        assert_eq!((record.lambda(), record.p(), record.error()), (Some(0.1), Some(0.2), None));
        assert_eq!(record.parameter("band").unwrap(), "below");
        assert_eq!(record.parameter("momentum"), None);
        let with = DONE.replace(
            r#""test":{"#,
            r#""baseline_validation":{"top1":91.0,"top5":null,"loss":0.3,"n":5},"test":{"#,
        );
        let record: RunRecord = serde_json::from_str(&with).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), with);
        let head = DONE.split_once(r#""status""#).unwrap().0;
        let (_, tail) = DONE.split_once(r#""epochs""#).unwrap();
        let failed = format!(
            "{head}{}{tail}",
            r#""status":"failed","error":"diverged","log":["one","two"],"attempts":2,"interrupted":[{"started":"s","host":"h","program":"p","seconds":1.0}],"warnings":[],"selection":"last epoch","baseline":null,"test":null,"validation":null,"sparsity":null,"entropy":null,"layers":[],"sizes":null,"epochs""#
        );
        let record: RunRecord = serde_json::from_str(&failed).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), failed);
        assert_eq!((record.error(), record.log().len()), (Some("diverged"), 2));
        assert!(record.is_failed() && record.test().is_none() && record.layers().is_empty());
    }

    /// Records from before `parameters`: they come from the specification, and Λ and p, where it is silent, from their own
    /// fields.
    #[test]
    fn earlier_records_have_parameters() {
        let now = r#""parameters":{"lambda":0.1,"p":0.2,"band":"below"},"seed""#;
        let read = |lambda: &str| -> RunRecord {
            serde_json::from_str(&DONE.replacen(now, &format!(r#"{lambda}"seed""#), 1)).unwrap()
        };
        let new: RunRecord = serde_json::from_str(DONE).unwrap();
        assert_eq!(read(r#""lambda":0.1,"p":0.2,"#), new);
        assert_eq!(read(""), new);
        let silent = r#""spec":{"quantizer":{"parameters":{"lambda":0.1,"p":0.2,"band":"below"}}}"#;
        let text = DONE.replacen(now, r#""lambda":0.3,"p":null,"seed""#, 1).replace(silent, r#""spec":{}"#);
        let record: RunRecord = serde_json::from_str(&text).unwrap();
        assert_eq!((record.lambda(), record.p(), record.parameters.len()), (Some(0.3), None, 1));
    }

    /// A record that calls itself finished without a result is refused with its id and what it lacks.
    #[test]
    fn finished_means_measured() {
        let broken = DONE.replace(r#""sparsity":0.25"#, r#""sparsity":null"#);
        let error = serde_json::from_str::<RunRecord>(&broken).unwrap_err().to_string();
        assert!(error.contains("run a") && error.contains("'sparsity'"), "{error}");
    }
}
