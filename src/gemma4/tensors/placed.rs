//! The rows of the table with the sizes of a configuration, layer by layer.

use super::entry::{Entry, Norm, Place, Scope, Shape, SizeOf, When};
use crate::gemma4::fields::Config;

/// A tensor that the model has, or one of each expert of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub(crate) entry: &'a Entry,
    /// Its layer; `None` for one of the model.
    pub(crate) layer: Option<usize>,
    config: &'a Config,
}

/// A tensor's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dimensions {
    /// `[length]`.
    Vector(usize),
    /// `[out_features, in_features]`; the name is without `.weight`.
    Matrix([usize; 2]),
}

/// Tensors of one layer, or of the model, that are at one place in a loaded model.
#[derive(Debug, Clone)]
pub(crate) struct AtPlace<'a> {
    pub(crate) place: Place,
    /// In the table's order.
    pub(crate) tensors: Vec<Placed<'a>>,
}

impl Config {
    /// Every tensor that the model must have, in the order of the table: those of the model, then layer by layer. Those of experts
    /// come once a layer, for all of them.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = Placed<'_>> {
        self.tensors_at(None).chain((0..self.layers.len()).flat_map(|l| self.tensors_at(Some(l))))
    }

    /// Those of `layer`, or of the model.
    pub(crate) fn tensors_at(&self, layer: Option<usize>) -> impl Iterator<Item = Placed<'_>> {
        let is_there = move |entry: &&Entry| (entry.scope == Scope::Model) == layer.is_none() && self.has(entry, layer);
        self.tensors.entries().iter().filter(is_there).map(move |entry| Placed { entry, layer, config: self })
    }

    /// As [`Self::tensors`], those at one place together, where the first of them is.
    pub(crate) fn places(&self) -> Vec<AtPlace<'_>> {
        let mut all: Vec<AtPlace> = Vec::new();
        for layer in [None].into_iter().chain((0..self.layers.len()).map(Some)) {
            let first = all.len();
            for tensor in self.tensors_at(layer) {
                let place = tensor.entry.place;
                let is_shared = matches!(place, Place::Stack(_) | Place::Rows(_));
                match all[first..].iter_mut().find(|at| is_shared && at.place == place) {
                    Some(at) => at.tensors.push(tensor),
                    None => all.push(AtPlace { place, tensors: vec![tensor] }),
                }
            }
        }
        all
    }

    /// Whether the model, or this layer of it, has the tensor of this row.
    pub(crate) fn has(&self, entry: &Entry, layer: Option<usize>) -> bool {
        let layer = layer.map(|l| &self.layers[l]);
        match entry.when {
            When::Always => true,
            When::UntiedHead => !self.tie_word_embeddings,
            When::PerLayerInputs => self.hidden_size_per_layer_input > 0,
            When::Experts => self.is_moe(),
            When::OwnKeys => layer.is_some_and(|layer| layer.kv_source.is_none()),
            When::OwnValues => layer.is_some_and(|layer| layer.kv_source.is_none() && !layer.k_eq_v),
        }
    }

    /// The number that `size` stands for, in `layer`.
    ///
    /// # Panics
    /// For a size of layers without one.
    pub(crate) fn size(&self, size: SizeOf, layer: Option<usize>) -> usize {
        let layer = || &self.layers[layer.expect("a size of a layer")];
        match size {
            SizeOf::Fixed(size) => size,
            SizeOf::Hidden => self.hidden_size,
            SizeOf::Vocab => self.vocab_size,
            SizeOf::PerLayerVocab => self.vocab_size_per_layer_input,
            SizeOf::PerLayer => self.hidden_size_per_layer_input,
            SizeOf::AllPerLayer => self.hidden_size_per_layer_input.saturating_mul(self.num_hidden_layers),
            SizeOf::HeadDim => layer().head_dim,
            SizeOf::Queries => self.num_attention_heads.saturating_mul(layer().head_dim),
            SizeOf::Keys => layer().num_key_value_heads.saturating_mul(layer().head_dim),
            SizeOf::Mlp => layer().intermediate_size,
            SizeOf::Experts => self.num_experts,
            SizeOf::Expert => self.moe_intermediate_size,
        }
    }
}

impl Placed<'_> {
    /// Its name, relative to the text model; of experts' without a number, as the name of all together.
    pub(crate) fn name(&self) -> String {
        self.in_layer(self.entry.name)
    }

    /// The name of that of an expert.
    ///
    /// # Panics
    /// If it is none of an expert's.
    pub(crate) fn name_of(&self, expert: usize) -> String {
        let (first, rest) = self.entry.name.split_once('.').expect("an expert's number follows the first dot");
        self.in_layer(&format!("{first}.{expert}.{rest}"))
    }

    /// `name` behind that of the layer.
    pub(crate) fn in_layer(&self, name: &str) -> String {
        self.layer.map_or_else(|| name.to_owned(), |l| format!("layers.{l}.{name}"))
    }

    pub(crate) fn is_of_experts(&self) -> bool {
        self.entry.scope == Scope::Expert
    }

    /// Its number among the projections of an expert.
    pub(crate) fn projection(&self) -> usize {
        let known = self.config.tensors.of_experts().position(|entry| entry.name == self.entry.name);
        known.expect("a tensor of experts")
    }

    pub(crate) fn dimensions(&self) -> Dimensions {
        let size = |size| self.config.size(size, self.layer);
        match self.entry.shape {
            Shape::Vector(length) => Dimensions::Vector(size(length)),
            Shape::Matrix(outputs, inputs) => Dimensions::Matrix([size(outputs), size(inputs)]),
        }
    }

    /// `[out_features, in_features]`.
    ///
    /// # Panics
    /// For a vector.
    pub(crate) fn matrix(&self) -> [usize; 2] {
        match self.dimensions() {
            Dimensions::Matrix(shape) => shape,
            Dimensions::Vector(_) => panic!("{} is a vector", self.name()),
        }
    }

    /// Values, of all experts together.
    pub(crate) fn parameters(&self) -> u128 {
        let experts = if self.is_of_experts() { self.config.num_experts } else { 1 };
        let one = match self.dimensions() {
            Dimensions::Vector(length) => length as u128,
            Dimensions::Matrix([outputs, inputs]) => outputs as u128 * inputs as u128,
        };
        one * experts as u128
    }

    /// The rows of the table at its place, with those that the layer lacks.
    fn of_place(&self) -> impl Iterator<Item = &Entry> {
        self.config.tensors.entries().iter().filter(|entry| entry.place == self.entry.place)
    }

    /// Its row, where several vectors are at one place.
    pub(crate) fn row(&self) -> usize {
        self.of_place().position(|entry| entry.name == self.entry.name).expect("it is one of them")
    }

    /// Its row in the tensor of all norms, if it is one.
    pub(crate) fn norm_row(&self) -> Option<usize> {
        let Place::Norm(norm) = self.entry.place else { return None };
        Some(self.layer.unwrap_or(self.config.num_hidden_layers) * Norm::COUNT + norm as usize)
    }
}

impl AtPlace<'_> {
    /// The name of the place, relative to the text model.
    pub(crate) fn name(&self) -> String {
        self.tensors[0].in_layer(self.label())
    }

    /// The name of the place, relative to its layer.
    pub(crate) fn label(&self) -> &'static str {
        match self.place {
            Place::Stack(name) | Place::Rows(name) => name,
            Place::Norm(_) | Place::Number | Place::File => self.tensors[0].entry.name,
        }
    }

    /// `[rows, width]` of vectors at one place, with rows that the layer lacks.
    ///
    /// # Panics
    /// For matrices.
    pub(crate) fn rows(&self) -> [usize; 2] {
        match self.tensors[0].dimensions() {
            Dimensions::Vector(width) => [self.tensors[0].of_place().count(), width],
            Dimensions::Matrix(_) => panic!("{} is no vector", self.name()),
        }
    }

    /// Whether it is a matrix that is alone in any layer.
    pub(crate) fn is_alone(&self) -> bool {
        self.place == Place::Stack(self.tensors[0].entry.name)
    }
}
