//! Calibration: every quantized layer's inputs for some training samples, gathered on one walk through the network and
//! handed to the quantizer layer by layer.

use super::batches;
use crate::data::{Dataset, Split};
use crate::nn::{Layer, Network, Operation, Parameters, ops, transfer};
use crate::quant::calibration::{
    CalibrationData, CalibrationKind, CalibrationNeeds, LayerCalibration, Moments,
};
use crate::quant::quantizer::{Quantizer, WeightTensor};
use crate::rng::Rng;
use crate::{Error, Result};
use candle_core::Tensor;

/// Samples per forward pass.
const BATCH: usize = 64;

/// Which training samples are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalibrationSet {
    /// How many, or all where the training split has fewer.
    pub samples: usize,
    /// Which: the samples are drawn without replacement.
    pub seed: u64,
}

impl CalibrationSet {
    /// Positions in the training split, ascending.
    pub fn indices(&self, dataset: &dyn Dataset) -> Vec<usize> {
        let mut all: Vec<usize> = (0..dataset.len(Split::Train)).collect();
        Rng::stream(self.seed, "calibration").shuffle(&mut all);
        all.truncate(self.samples);
        all.sort_unstable();
        all
    }

    /// The inputs, in batches, without augmentation.
    fn read(&self, dataset: &dyn Dataset, parameters: &Parameters) -> Result<Vec<Tensor>> {
        let indices = self.indices(dataset);
        let batch = |indices: &[usize]| {
            Ok(batches::read(dataset, Split::Train, indices, parameters.device())?.inputs)
        };
        indices.chunks(BATCH).map(batch).collect()
    }
}

/// Gathers the calibration of the layers whose weights are in `names`, in network order, with the weights that
/// `parameters` have.
///
/// # Errors
/// Those of the data set and the network.
pub fn collect(
    network: &Network,
    parameters: &Parameters,
    names: &[String],
    dataset: &dyn Dataset,
    set: &CalibrationSet,
    kind: CalibrationKind,
) -> Result<Vec<LayerCalibration>> {
    let mut gathered: Vec<LayerCalibration> = Vec::new();
    for batch in set.read(dataset, parameters)? {
        let mut position = 0;
        network.visit(parameters, vec![batch], &mut |layer, inputs| {
            let name = weight_name(layer);
            if names.contains(&name) {
                let new = of_layer(layer, name, inputs, kind)?;
                match gathered.get_mut(position) {
                    Some(known) => add(known, new)?,
                    None => gathered.push(new),
                }
                position += 1;
            }
            Ok(())
        })?;
    }
    Ok(gathered)
}

/// Gives a calibrating quantizer what it asks for; does nothing for others. `parameters` hold the trained weights and hold
/// them again afterwards; `weights` are those of `names`.
///
/// # Errors
/// Those of the data set, the network and the quantizer.
pub fn calibrate_quantizer(
    network: &Network,
    parameters: &Parameters,
    weights: &[WeightTensor<'_>],
    quantizer: &mut dyn Quantizer,
    dataset: &dyn Dataset,
    set: &CalibrationSet,
) -> Result<()> {
    let Some(CalibrationNeeds { kind, sequential }) = quantizer.wants_calibration() else { return Ok(()) };
    let find = |name: &str| weights.iter().position(|tensor| tensor.name == name);
    if !sequential {
        let names: Vec<String> = weights.iter().map(|tensor| tensor.name.to_owned()).collect();
        for layer in collect(network, parameters, &names, dataset, set, kind)? {
            if let Some(index) = find(&layer.name) {
                quantizer.calibrate(index, weights[index], layer)?;
            }
        }
        return Ok(());
    }
    // All samples go through a layer before the next one: what they see there depends on how it was quantized.
    let parameters = parameters.deep_copy()?;
    network.visit(&parameters, set.read(dataset, &parameters)?, &mut |layer, inputs| {
        let Some(index) = find(&weight_name(layer)) else { return Ok(()) };
        let calibration = of_layer(layer, weight_name(layer), inputs, kind)?;
        if let Some(quantized) = quantizer.calibrate(index, weights[index], calibration)? {
            parameters.set_values(&quantized.name, &quantized.content.values())?;
        }
        Ok(())
    })
}

fn weight_name(layer: &Layer) -> String {
    format!("{}.weight", layer.name)
}

/// The calibration of one layer from its inputs in batches.
fn of_layer(
    layer: &Layer,
    name: String,
    inputs: &[Tensor],
    kind: CalibrationKind,
) -> Result<LayerCalibration> {
    let samples = inputs.iter().map(|input| input.dims().first().copied().unwrap_or(0)).sum();
    let data = match kind {
        CalibrationKind::Inputs => {
            let mut shape = inputs.first().map(|input| input.dims().to_vec()).unwrap_or_default();
            if let Some(first) = shape.first_mut() {
                *first = samples;
            }
            let mut values = Vec::new();
            for input in inputs {
                values.extend(transfer::values::<f32>(input)?);
            }
            CalibrationData::Inputs { shape, values }
        }
        CalibrationKind::Moments => CalibrationData::Moments(moments(layer, inputs)?),
    };
    Ok(LayerCalibration { name, samples, data })
}

fn moments(layer: &Layer, inputs: &[Tensor]) -> Result<Moments> {
    let mut sum: Option<Moments> = None;
    for input in inputs {
        let (size, columns, groups) = match layer.operation {
            Operation::Linear { inputs, .. } => {
                (inputs, input.dims().first().copied().unwrap_or(0), ops::linear_moments(input)?)
            }
            Operation::Conv2d { in_channels, kernel, stride, padding, dilation, groups, .. } => {
                let geometry = ops::Conv2dGeometry {
                    stride,
                    padding,
                    dilation,
                    groups,
                    ..ops::Conv2dGeometry::default()
                };
                let (columns, moments) = ops::conv2d_moments(input, kernel, &geometry)?;
                (in_channels / groups * kernel[0] * kernel[1], columns, moments)
            }
            _ => return Err(Error::Internal(format!("{} has no weights to calibrate", layer.name))),
        };
        let new = Moments { size, columns, groups };
        match &mut sum {
            Some(sum) => add_moments(sum, new),
            None => sum = Some(new),
        }
    }
    sum.ok_or_else(|| Error::input("calibration needs at least one training sample"))
}

fn add_moments(sum: &mut Moments, new: Moments) {
    sum.columns += new.columns;
    for (sum, new) in sum.groups.iter_mut().zip(new.groups) {
        sum.iter_mut().zip(new).for_each(|(sum, new)| *sum += new);
    }
}

/// Adds the calibration of further samples of the same layer.
fn add(known: &mut LayerCalibration, new: LayerCalibration) -> Result<()> {
    known.samples += new.samples;
    match (&mut known.data, new.data) {
        (CalibrationData::Moments(sum), CalibrationData::Moments(new)) => add_moments(sum, new),
        (CalibrationData::Inputs { shape, values }, CalibrationData::Inputs { values: new, .. }) => {
            values.extend(new);
            if let Some(first) = shape.first_mut() {
                *first = known.samples;
            }
        }
        _ => return Err(Error::Internal("calibration of two kinds".into())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::latent::LatentWeights;
    use super::*;
    use crate::quant::quantizer::Content;
    use crate::{data, model};
    use candle_core::Device;
    use serde_json::json;
    use std::path::Path;

    fn setup() -> (std::sync::Arc<dyn Dataset>, Network, Parameters, Vec<String>) {
        let spec =
            serde_json::from_value(json!({"name": "embedded-images", "samples": {"train": 90}})).unwrap();
        let dataset = data::open(&spec, Path::new("nowhere")).unwrap();
        let network =
            model::build("cnn-small", dataset.input_shape(), dataset.classes().len(), &model::Options::new())
                .unwrap();
        let parameters = crate::nn::init::initialise(&network, &Device::Cpu, 5).unwrap();
        let names: Vec<String> =
            crate::train::quantized::weight_names(&parameters).map(str::to_owned).collect();
        (dataset, network, parameters, names)
    }

    /// 2 X Xᵀ of a sum over samples and positions that is written out, for every layer's inputs as they were recorded:
    /// for every output, wᵀ H w is twice the squared norm of what the layer gives without bias.
    #[test]
    fn moments_are_those_of_the_outputs() {
        let (dataset, network, parameters, names) = setup();
        let set = CalibrationSet { samples: 80, seed: 3 };
        let of = |kind| collect(&network, &parameters, &names, dataset.as_ref(), &set, kind).unwrap();
        let (inputs, moments) = (of(CalibrationKind::Inputs), of(CalibrationKind::Moments));
        assert_eq!(inputs.len(), names.len());
        for (inputs, moments) in inputs.iter().zip(&moments) {
            assert_eq!((&inputs.name, inputs.samples), (&moments.name, 80));
            let CalibrationData::Inputs { shape, values } = &inputs.data else { panic!("inputs") };
            let x = Tensor::from_vec(values.clone(), shape.as_slice(), &Device::Cpu).unwrap();
            let name = inputs.name.strip_suffix(".weight").unwrap();
            let layer = network.layers().iter().find(|layer| layer.name == name).unwrap();
            let weight = parameters.tensor(&inputs.name).unwrap();
            let out = match layer.operation {
                Operation::Conv2d { stride, padding, dilation, groups, .. } => {
                    let geometry = ops::Conv2dGeometry {
                        stride,
                        padding,
                        dilation,
                        groups,
                        ..ops::Conv2dGeometry::default()
                    };
                    ops::conv2d(&x, weight, None, &geometry).unwrap().transpose(0, 1).unwrap()
                }
                _ => ops::linear(&x, weight, None).unwrap().t().unwrap(),
            };
            let out = out.contiguous().unwrap().flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
            let Moments { size, columns, groups } = moments.moments().unwrap();
            assert_eq!((*columns, groups.len()), (out[0].len(), 1));
            let rows = parameters.values(&inputs.name).unwrap();
            for (row, out) in rows.chunks(*size).zip(out) {
                let expected: f64 = 2.0 * out.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>();
                let mut found = 0.0;
                for (i, a) in row.iter().enumerate() {
                    let line = &groups[0][i * size..][..*size];
                    found +=
                        f64::from(*a) * line.iter().zip(row).map(|(h, &b)| h * f64::from(b)).sum::<f64>();
                }
                assert!((found - expected).abs() <= 1e-4 * expected.max(1.0), "{name}: {found} {expected}");
            }
        }
    }

    /// The seed decides which samples; they are of the training split, each once.
    #[test]
    fn samples_depend_on_the_seed_alone() {
        let (dataset, ..) = setup();
        let of = |samples, seed| CalibrationSet { samples, seed }.indices(dataset.as_ref());
        assert_eq!(of(40, 1), of(40, 1));
        assert_ne!(of(40, 1), of(40, 2));
        assert_eq!(of(1000, 1), (0..90).collect::<Vec<_>>());
        let mut one = of(40, 1);
        one.dedup();
        assert_eq!(one.len(), 40);
    }

    /// A sequential method sees what the layers that it has quantized give: here zeros, once the first is zero. The
    /// trained weights are left alone.
    #[test]
    fn sequential_inputs_are_those_of_quantized_layers() {
        struct Zeros(bool, Vec<f64>);
        impl Quantizer for Zeros {
            fn initialize(&mut self, _: &[WeightTensor<'_>]) -> Result<()> {
                Ok(())
            }
            fn wants_calibration(&self) -> Option<CalibrationNeeds> {
                Some(CalibrationNeeds { kind: CalibrationKind::Inputs, sequential: self.0 })
            }
            fn calibrate(
                &mut self,
                _: usize,
                weights: WeightTensor<'_>,
                layer: LayerCalibration,
            ) -> Result<Option<crate::quant::quantizer::QuantizedTensor>> {
                let CalibrationData::Inputs { values, .. } = layer.data else { panic!("inputs") };
                self.1.push(values.iter().map(|&x| f64::from(x).abs()).sum());
                Ok(Some(weights.quantized(Content::zeros(weights.values.len()))))
            }
            fn assign(
                &mut self,
                _: &[WeightTensor<'_>],
                _: Option<&crate::quant::quantizer::Relevances>,
                _: crate::quant::quantizer::StepInfo,
            ) -> Result<Vec<crate::quant::quantizer::QuantizedTensor>> {
                Ok(Vec::new())
            }
            fn state(&self) -> Result<serde_json::Value> {
                Ok(json!(null))
            }
            fn restore(&mut self, _: &serde_json::Value) -> Result<()> {
                Ok(())
            }
        }
        let (dataset, network, parameters, names) = setup();
        let latent = LatentWeights::new(&parameters, &names).unwrap();
        let (values, weights) = (&latent.values, latent.tensors());
        let set = CalibrationSet { samples: 70, seed: 1 };
        let sums = [true, false].map(|sequential| {
            let mut zeros = Zeros(sequential, Vec::new());
            calibrate_quantizer(&network, &parameters, &weights, &mut zeros, dataset.as_ref(), &set).unwrap();
            zeros.1
        });
        assert_eq!(sums[0].len(), names.len());
        assert!((sums[0][0] - sums[1][0]).abs() < 1e-3 * sums[1][0]);
        assert!(sums[0].iter().skip(1).sum::<f64>() < 0.5 * sums[1].iter().skip(1).sum::<f64>());
        assert_eq!(parameters.values(&names[0]).unwrap(), values[0]);
    }

    /// On every layer of a network, what the outputs lose with OPTQ's levels is no more than with the nearest ones, at every
    /// bit width: (w − q) H (w − q)ᵀ over all outputs.
    #[test]
    fn optq_never_loses_more_than_nearest_levels() {
        let (dataset, network, parameters, names) = setup();
        let set = CalibrationSet { samples: 64, seed: 2 };
        let moments =
            collect(&network, &parameters, &names, dataset.as_ref(), &set, CalibrationKind::Moments).unwrap();
        let latent = LatentWeights::new(&parameters, &names).unwrap();
        let (values, weights) = (&latent.values, latent.tensors());
        let quantized = |method: &str, bits| {
            let settings = json!({"inputs": "full"});
            let none = serde_json::Map::new();
            let settings = if method == "optq" { settings.as_object().unwrap() } else { &none };
            let (mut quantizer, _) = crate::quant::build(method, Some(bits), settings).unwrap();
            quantizer.initialize(&weights).unwrap();
            calibrate_quantizer(&network, &parameters, &weights, quantizer.as_mut(), dataset.as_ref(), &set)
                .unwrap();
            quantizer.assign(&weights, None, crate::quant::quantizer::StepInfo::POST_TRAINING).unwrap()
        };
        for bits in 2..=8 {
            let (ours, nearest) = (quantized("optq", bits), quantized("uniform", bits));
            for (index, layer) in moments.iter().enumerate() {
                let Moments { size, groups, .. } = layer.moments().unwrap();
                let loss = |tensor: &crate::quant::quantizer::QuantizedTensor| -> f64 {
                    let found = tensor.content.values();
                    let of_row = |(row, found): (&[f32], &[f32])| -> f64 {
                        let error: Vec<f64> =
                            row.iter().zip(found).map(|(w, q)| f64::from(*w) - f64::from(*q)).collect();
                        let line = |a: usize| -> f64 {
                            groups[0][a * size..][..*size].iter().zip(&error).map(|(h, e)| h * e).sum()
                        };
                        (0..*size).map(|a| error[a] * line(a)).sum()
                    };
                    values[index].chunks(*size).zip(found.chunks(*size)).map(of_row).sum()
                };
                let (ours, nearest) = (loss(&ours[index]), loss(&nearest[index]));
                assert!(ours <= nearest, "{} at {bits} bit: {ours} {nearest}", layer.name);
            }
        }
    }
}
