//! What the objects of a pickle mean: dictionaries, tensors of PyTorch, arrays of numpy, modules.

use super::dtype::Kind;
use super::pickle::{Call, Id, Node, Pickle};
use std::borrow::Cow;

/// Wrappers inside wrappers: `Parameter`, subclasses of tensors, tensors made from tensors.
const WRAPPERS: usize = 8;
/// Dimensions of a tensor; PyTorch and numpy allow no more.
const DIMENSIONS: usize = 64;
/// Bytes of a storage's name, which PyTorch makes of a number.
const STORAGE_NAME: usize = 200;
/// Attributes of an object that are looked at to tell a module, whose own come first.
const ATTRIBUTES: usize = 100;

/// Values in a storage.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// The storage's name.
    pub storage: String,
    /// Element type of the storage, which gives its length in files of the older format.
    pub kind: Kind,
    /// In elements.
    pub offset: usize,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

/// A tensor, not read yet.
#[derive(Debug, Clone)]
pub(super) enum Source<'a> {
    Stored(Stored),
    /// Values in the pickle itself, row-major unless `fortran`.
    Array {
        bytes: Bytes<'a>,
        kind: Kind,
        shape: Vec<usize>,
        fortran: bool,
    },
    /// `(integer − zero point) · scale`.
    Quantized {
        integers: Stored,
        scale: f64,
        zero: f64,
    },
    /// The same with a scale and zero point for every index of an axis.
    PerChannel {
        integers: Stored,
        scales: Box<Source<'a>>,
        zeros: Box<Source<'a>>,
        axis: usize,
    },
}

/// Bytes in a pickle. What is shared there stays shared: they are decoded when they are read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bytes<'a> {
    Plain(&'a [u8]),
    /// Python 2 and old protocols write bytes as text in Latin-1.
    Latin(&'a str),
}

impl<'a> Bytes<'a> {
    /// How much there is to decode.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Latin(text) => text.len(),
        }
    }

    pub(super) fn decoded(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Plain(bytes) => Some(Cow::Borrowed(bytes)),
            Self::Latin(text) => {
                let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).ok());
                bytes.collect::<Option<Vec<u8>>>().map(Cow::Owned)
            }
        }
    }
}

/// What a value is to a reader of weights.
pub(super) enum Value<'a> {
    Tensor(Source<'a>),
    /// A tensor of a kind that is not read, and which.
    Refused(String),
    /// No tensor.
    Other,
}

impl Source<'_> {
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Array { shape, .. } => shape,
            Self::Stored(stored)
            | Self::Quantized { integers: stored, .. }
            | Self::PerChannel { integers: stored, .. } => &stored.shape,
        }
    }
}

impl<'a> Pickle<'a> {
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn integer(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            Node::Bool(value) => Some((*value).into()),
            _ => None,
        }
    }

    fn size(&self, id: Id) -> Option<usize> {
        usize::try_from(self.integer(id)?).ok()
    }

    fn number(&self, id: Id) -> Option<f64> {
        match self.node(id) {
            Node::Float(value) => Some(*value),
            _ => self.integer(id).map(|value| value as f64),
        }
    }

    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            // torch.Size
            Node::Call(call) => match self.node(call.arguments) {
                Node::Tuple(arguments) if self.class(call.callable)?.1 == "Size" => {
                    self.items(*arguments.first()?)
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let items = self.items(id).filter(|items| items.len() <= DIMENSIONS)?;
        items.iter().map(|&item| self.size(item)).collect()
    }

    /// Module and name of a class or function.
    pub(super) fn class(&self, id: Id) -> Option<(&str, &str)> {
        match self.node(id) {
            Node::Class { module, name } => Some((module, name)),
            _ => None,
        }
    }

    fn call(&self, id: Id) -> Option<&Call> {
        match self.node(id) {
            Node::Call(call) => Some(call),
            _ => None,
        }
    }

    /// Entries of a dictionary of any class, in order; `None` for other values.
    pub(super) fn entries(&self, id: Id) -> Option<Cow<'_, [(Id, Id)]>> {
        match self.node(id) {
            Node::Dict(entries) => Some(Cow::Borrowed(entries)),
            Node::Call(call) if !call.items.is_empty() => Some(Cow::Borrowed(&call.items)),
            Node::Call(call) => {
                let (_, name) = self.class(call.callable)?;
                if !matches!(name, "OrderedDict" | "dict" | "defaultdict") {
                    return None;
                }
                // Python 2 gives the pairs to the constructor.
                let pairs = self.items(call.arguments).and_then(|arguments| self.items(*arguments.first()?));
                let pairs = pairs.unwrap_or_default();
                // Objects may share one list: it is not copied for each of them.
                if !self.spend(pairs.len() as u64) {
                    return None;
                }
                let pairs = pairs.iter();
                let pair = |&pair: &Id| match self.items(pair)? {
                    [key, value] => Some((*key, *value)),
                    _ => None,
                };
                Some(Cow::Owned(pairs.map(pair).collect::<Option<_>>().unwrap_or_default()))
            }
            _ => None,
        }
    }

    /// The class of a pickled `torch.nn.Module`.
    pub(super) fn module_class(&self, id: Id) -> Option<String> {
        let call = self.call(id)?;
        let has = |name: &str| {
            let entries = self.entries(call.state?)?;
            let mut entries = entries.iter().take(ATTRIBUTES);
            entries.any(|(key, _)| self.text(*key) == Some(name)).then_some(())
        };
        has("_modules")?;
        has("_parameters")?;
        let class = match self.class(call.callable)? {
            // Protocols 0 and 1 make objects through a helper.
            (_, "_reconstructor") => self.class(*self.items(call.arguments)?.first()?)?,
            class => class,
        };
        Some(format!("{}.{}", class.0, class.1))
    }

    /// What a value is, without reading any values.
    pub(super) fn value(&self, id: Id) -> Value<'a> {
        self.unwrapped(id, WRAPPERS)
    }

    fn unwrapped(&self, id: Id, wrappers: usize) -> Value<'a> {
        let Some(call) = self.call(id) else { return Value::Other };
        let Some((module, name)) = self.class(call.callable) else { return Value::Other };
        let arguments = self.items(call.arguments).unwrap_or_default();
        let Some(deeper) = wrappers.checked_sub(1) else {
            return Value::Refused("a tensor wrapped too often".into());
        };
        let inner = |id: Option<&Id>| match id.map(|&id| self.unwrapped(id, deeper)) {
            Some(Value::Other) | None => Value::Refused(format!("{module}.{name} around no tensor")),
            Some(value) => value,
        };
        let made = |source: Option<Source<'a>>| match source {
            Some(source) => Value::Tensor(source),
            None => Value::Refused(format!("{module}.{name} with arguments that are not understood")),
        };
        match (module, name) {
            (_, "_rebuild_tensor" | "_rebuild_tensor_v2") => self.rebuilt(arguments, None),
            (_, "_rebuild_tensor_v3") => self.rebuilt(arguments, arguments.get(6).copied()),
            (_, "_rebuild_qtensor") => made(self.quantized(arguments, deeper)),
            (_, "_rebuild_parameter" | "_rebuild_parameter_with_state") => inner(arguments.first()),
            (_, "_rebuild_device_tensor_from_cpu_tensor" | "_rebuild_device_tensor_from_numpy") => {
                inner(arguments.first())
            }
            // (function, class, arguments, state): a subclass of tensors made as the function says.
            (_, "_rebuild_from_type" | "_rebuild_from_type_v2") => {
                let parts = (arguments.first(), arguments.get(2));
                let (Some(&function), Some(&arguments)) = parts else { return made(None) };
                let arguments = self.items(arguments).unwrap_or_default();
                match self.class(function).map(|class| class.1) {
                    Some("_rebuild_tensor_v2" | "_rebuild_tensor") => self.rebuilt(arguments, None),
                    Some("_rebuild_tensor_v3") => self.rebuilt(arguments, arguments.get(6).copied()),
                    Some("_rebuild_parameter") => inner(arguments.first()),
                    other => Value::Refused(format!("a tensor made by {}", other.unwrap_or("another class"))),
                }
            }
            ("torch.nn.parameter", "Parameter") | ("torch", "Tensor") => inner(arguments.first()),
            (module, "_reconstruct") if module.starts_with("numpy") => made(self.array(call)),
            (module, "_frombuffer") if module.starts_with("numpy") => made(self.buffer_array(arguments)),
            (module, "scalar") if module.starts_with("numpy") => made(self.scalar(arguments)),
            (module, name) if module.starts_with("torch") && name.starts_with("_rebuild") => {
                let what = name.trim_start_matches("_rebuild_").replace('_', " ");
                Value::Refused(format!("a tensor of another kind ({what})"))
            }
            _ => Value::Other,
        }
    }

    /// `(storage, offset, size, stride, …)`; the type is the storage's unless given.
    fn rebuilt(&self, arguments: &[Id], kind: Option<Id>) -> Value<'a> {
        let kind = match kind.map(|id| self.class(id).map_or("", |class| class.1)) {
            None => None,
            Some(name) => match Kind::from_torch(name) {
                Some(kind) => Some(kind),
                None => return Value::Refused(format!("element type '{name}'")),
            },
        };
        let [storage, offset, shape, stride, ..] = *arguments else {
            return Value::Refused("a tensor without storage, offset, size and stride".into());
        };
        let (key, stored_kind, view) = match self.storage(storage) {
            Ok(found) => found,
            Err(what) => return Value::Refused(what),
        };
        let stored = || {
            Some(Stored {
                storage: key,
                kind: kind.unwrap_or(stored_kind),
                offset: self.size(offset)?.checked_add(view)?,
                shape: self.sizes(shape)?,
                stride: self.sizes(stride)?,
            })
        };
        match stored() {
            Some(stored) => Value::Tensor(Source::Stored(stored)),
            None => Value::Refused("a tensor whose size or stride is not understood".into()),
        }
    }

    /// Name, element type and, in very old files, offset of a storage.
    pub(super) fn storage(&self, id: Id) -> Result<(String, Kind, usize), String> {
        let damaged = || "a tensor without a storage".to_owned();
        let Node::Persistent(fields) = self.node(id) else { return Err(damaged()) };
        let fields = self.items(*fields).ok_or_else(damaged)?;
        let (Some(&class), Some(&key)) = (fields.get(1), fields.get(2)) else { return Err(damaged()) };
        let class = self.class(class).ok_or_else(damaged)?.1;
        let kind = Kind::from_storage(class).ok_or_else(|| format!("a storage of class {class}"))?;
        let key = match self.node(key) {
            Node::Text(text) if text.len() <= STORAGE_NAME => text.to_string(),
            Node::Int(value) => value.to_string(),
            _ => return Err(damaged()),
        };
        let view = fields.get(5).and_then(|&view| self.size(*self.items(view)?.get(1)?));
        Ok((key, kind, view.unwrap_or(0)))
    }

    /// `(storage, offset, size, stride, (scheme, …), …)`.
    fn quantized(&self, arguments: &[Id], wrappers: usize) -> Option<Source<'a>> {
        let Value::Tensor(Source::Stored(integers)) = self.rebuilt(arguments, None) else { return None };
        let parameters = self.items(*arguments.get(4)?)?;
        let tensor = |id: Option<&Id>| match self.unwrapped(*id?, wrappers) {
            Value::Tensor(source) => Some(Box::new(source)),
            _ => None,
        };
        match self.class(*parameters.first()?)?.1 {
            "per_tensor_affine" | "per_tensor_symmetric" => Some(Source::Quantized {
                integers,
                scale: self.number(*parameters.get(1)?)?,
                zero: self.number(*parameters.get(2)?)?,
            }),
            "per_channel_affine" | "per_channel_symmetric" | "per_channel_affine_float_qparams" => {
                // With float parameters the zero point is subtracted after scaling.
                if self.class(*parameters.first()?)?.1.ends_with("float_qparams") {
                    return None;
                }
                Some(Source::PerChannel {
                    integers,
                    scales: tensor(parameters.get(1))?,
                    zeros: tensor(parameters.get(2))?,
                    axis: self.size(*parameters.get(3)?)?,
                })
            }
            _ => None,
        }
    }

    /// Bytes, also as Python 2 and old protocols write them.
    fn bytes(&self, id: Id) -> Option<Bytes<'a>> {
        match self.node(id) {
            Node::Bytes(bytes) => Some(Bytes::Plain(bytes)),
            Node::Text(Cow::Borrowed(text)) => Some(Bytes::Latin(text)),
            Node::Call(call) => {
                let (module, name) = self.class(call.callable)?;
                let first = self.items(call.arguments)?.first();
                match (module, name, first.map(|&first| self.node(first))) {
                    ("_codecs", "encode", Some(Node::Text(Cow::Borrowed(text)))) => Some(Bytes::Latin(text)),
                    (_, "bytes" | "bytearray", Some(Node::Bytes(bytes))) => Some(Bytes::Plain(bytes)),
                    (_, "bytes" | "bytearray", None) => Some(Bytes::Plain(&[])),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// A `numpy.dtype`: its type, in little-endian order or without order.
    fn numpy_kind(&self, id: Id) -> Option<Kind> {
        let call = self.call(id)?;
        (self.class(call.callable)?.1 == "dtype").then_some(())?;
        let code = self.text(*self.items(call.arguments)?.first()?)?;
        let order = call.state.and_then(|state| self.text(*self.items(state)?.get(1)?));
        let code = code.trim_start_matches(['<', '|', '=']);
        (order != Some(">")).then_some(())?;
        Kind::from_numpy(code)
    }

    /// `_reconstruct(…)` with the state `(version, shape, dtype, is_fortran, bytes)`.
    fn array(&self, call: &Call) -> Option<Source<'a>> {
        let &[_, shape, kind, fortran, bytes] = self.items(call.state?)? else { return None };
        Some(Source::Array {
            bytes: self.bytes(bytes)?,
            kind: self.numpy_kind(kind)?,
            shape: self.sizes(shape)?,
            fortran: self.integer(fortran)? != 0,
        })
    }

    /// `_frombuffer(bytes, dtype, shape, order)`.
    fn buffer_array(&self, arguments: &[Id]) -> Option<Source<'a>> {
        let &[bytes, kind, shape, order] = arguments else { return None };
        Some(Source::Array {
            bytes: self.bytes(bytes)?,
            kind: self.numpy_kind(kind)?,
            shape: self.sizes(shape)?,
            fortran: self.text(order)? == "F",
        })
    }

    /// `scalar(dtype, bytes)`.
    fn scalar(&self, arguments: &[Id]) -> Option<Source<'a>> {
        let &[kind, bytes] = arguments else { return None };
        let (bytes, kind) = (self.bytes(bytes)?, self.numpy_kind(kind)?);
        Some(Source::Array { bytes, kind, shape: Vec::new(), fortran: false })
    }
}
