//! The whole Gemma 4 text model on the CPU, one token after the other, with a cache of keys and values.

use std::collections::BTreeMap;

use super::ops;
use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::gemma4::tensors::Dimensions;
use crate::gemma4::{Config, LayerKind};
use crate::quant::Matrix;

/// Inner tensors by name, `[tokens, width]` each: `embed`, `layer.N.attn`, `layer.N.mlp`, `layer.N.experts`,
/// `layer.N.router.weights`, `layer.N.out`, `final_norm`, `per_layer_inputs`, `logits`.
pub type Trace = BTreeMap<String, Vec<f32>>;

/// All weights of a checkpoint, dequantized to f32 in host memory: for small models.
#[derive(Debug)]
pub struct Model {
    config: Config,
    matrices: BTreeMap<String, Matrix>,
    vectors: BTreeMap<String, Vec<f32>>,
}

/// Keys and values of one sequence so far, `[layer][position]` with all KV heads of a position side by side.
#[derive(Debug, Default, Clone)]
pub struct Cache {
    keys: Vec<Vec<Vec<f32>>>,
    values: Vec<Vec<Vec<f32>>>,
    position: usize,
}

impl Model {
    /// Reads every weight.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let config = checkpoint.config.clone();
        let (mut matrices, mut vectors) = (BTreeMap::new(), BTreeMap::new());
        for tensor in config.tensors() {
            let mut keep = |name, matrix: Matrix| -> Result<()> {
                matrices.insert(name, Matrix::Dense(matrix.to_dense()?));
                Ok(())
            };
            match (tensor.dimensions(), tensor.layer) {
                (Dimensions::Vector(_), _) => drop(vectors.insert(tensor.name(), checkpoint.vector(&tensor.name())?)),
                (Dimensions::Matrix(_), Some(l)) if tensor.is_of_experts() => {
                    for e in 0..config.num_experts {
                        keep(tensor.name_of(e), checkpoint.load_expert(l, e, tensor.projection())?)?;
                    }
                }
                (Dimensions::Matrix(_), _) => keep(tensor.name(), checkpoint.load(&tensor.name())?)?,
            }
        }
        Ok(Model { config, matrices, vectors })
    }

    /// The matrix `name`, that of an expert as `layers.3.experts.5.gate_proj`.
    pub fn matrix(&self, name: &str) -> Option<&Matrix> {
        self.matrices.get(name)
    }

    /// The norm, scale or scalar `name`.
    pub fn vector(&self, name: &str) -> Option<&[f32]> {
        self.vectors.get(name).map(Vec::as_slice)
    }

    /// Runs `ids` behind what `cache` holds and returns every inner tensor of these tokens.
    pub fn forward(&self, ids: &[u32], cache: &mut Cache) -> Trace {
        let mut trace = Trace::new();
        cache.keys.resize(self.config.num_hidden_layers, Vec::new());
        cache.values.resize(self.config.num_hidden_layers, Vec::new());
        for &id in ids {
            self.token(id, cache, &mut trace);
            cache.position += 1;
        }
        trace
    }

    fn token(&self, id: u32, cache: &mut Cache, trace: &mut Trace) {
        let c = &self.config;
        let mut keep =
            |name: &str, values: &[f32]| trace.entry(name.to_string()).or_default().extend_from_slice(values);
        let mut h = vec![0.0; c.hidden_size];
        self.matrices["embed_tokens"].read_row(id as usize, &mut h);
        let scale = (c.hidden_size as f64).sqrt() as f32;
        h.iter_mut().for_each(|v| *v *= scale);
        keep("embed", &h);
        let per_layer_inputs = self.per_layer_inputs(id, &h);
        if let Some(inputs) = &per_layer_inputs {
            keep("per_layer_inputs", inputs);
        }
        for l in 0..c.num_hidden_layers {
            let eps = c.rms_norm_eps;
            let attn =
                self.attention(l, &ops::rms_norm(&h, Some(self.vector_of(l, "input_layernorm.weight")), eps), cache);
            keep(&format!("layer.{l}.attn"), &attn);
            ops::add_norm(&mut h, &attn, self.vector_of(l, "post_attention_layernorm.weight"), 1.0, eps);
            let x = ops::rms_norm(&h, Some(self.vector_of(l, "pre_feedforward_layernorm.weight")), eps);
            let mlp = self.mlp(&format!("layers.{l}.mlp"), &x);
            keep(&format!("layer.{l}.mlp"), &mlp);
            let scalar = self.vector_of(l, "layer_scalar")[0];
            // The per-layer input comes before the scalar, so such a layer scales at its own end.
            let end = if per_layer_inputs.is_some() { 1.0 } else { scalar };
            if c.is_moe() {
                let (weights, experts) = self.experts(l, &h);
                keep(&format!("layer.{l}.router.weights"), &weights);
                keep(&format!("layer.{l}.experts"), &experts);
                let norms =
                    ["_1", "_2", ""].map(|n| self.vector_of(l, &format!("post_feedforward_layernorm{n}.weight")));
                ops::moe_combine(&mut h, &mlp, &experts, norms, end, eps);
            } else {
                ops::add_norm(&mut h, &mlp, self.vector_of(l, "post_feedforward_layernorm.weight"), end, eps);
            }
            if let Some(inputs) = &per_layer_inputs {
                let n = c.hidden_size_per_layer_input;
                let gate = ops::matmul(&h, self.matrix_of(l, "per_layer_input_gate"));
                let gated = ops::gelu_mul(&gate, &inputs[l * n..(l + 1) * n]);
                let x = ops::matmul(&gated, self.matrix_of(l, "per_layer_projection"));
                ops::add_norm(&mut h, &x, self.vector_of(l, "post_per_layer_input_norm.weight"), scalar, eps);
            }
            keep(&format!("layer.{l}.out"), &h);
        }
        let x = ops::rms_norm(&h, Some(&self.vectors["norm.weight"]), c.rms_norm_eps);
        keep("final_norm", &x);
        let head = self.matrices.get("lm_head").unwrap_or(&self.matrices["embed_tokens"]);
        let mut logits = ops::matmul(&x, head);
        ops::softcap(&mut logits, c.final_logit_softcapping);
        keep("logits", &logits);
    }

    /// `(rms(W h / sqrt(hidden); w) + table[id] * sqrt(n)) / sqrt(2)`, all layers side by side.
    fn per_layer_inputs(&self, id: u32, h: &[f32]) -> Option<Vec<f32>> {
        let (c, n) = (&self.config, self.config.hidden_size_per_layer_input);
        let table = self.matrices.get("embed_tokens_per_layer")?;
        let mut tokens = vec![0.0; table.in_features()];
        table.read_row(if (id as usize) < table.out_features() { id as usize } else { 0 }, &mut tokens);
        let root = (n as f32).sqrt();
        tokens.iter_mut().for_each(|t| *t *= root);
        let context = ops::matmul(h, &self.matrices["per_layer_model_projection"]);
        let (norm, scale) = (&self.vectors["per_layer_projection_norm.weight"], (c.hidden_size as f32).powf(-0.5));
        let layers = context.chunks_exact(n).zip(tokens.chunks_exact(n));
        Some(layers.flat_map(|(x, t)| ops::per_layer_inputs(x, t, norm, scale, c.rms_norm_eps)).collect())
    }

    fn attention(&self, l: usize, a: &[f32], cache: &mut Cache) -> Vec<f32> {
        let (c, layer) = (&self.config, &self.config.layers[l]);
        let (d, eps, position) = (layer.head_dim, c.rms_norm_eps, cache.position);
        let angles = layer.rope.angles(d, position);
        let turned = |x: &[f32], norm: &str| -> Vec<f32> {
            let weight = self.vector_of(l, norm);
            let mut all = Vec::with_capacity(x.len());
            for head in x.chunks_exact(d) {
                all.extend(ops::head_norm_rope(head, Some(weight), &angles, eps));
            }
            all
        };
        let q = turned(&ops::matmul(a, self.matrix_of(l, "self_attn.q_proj")), "self_attn.q_norm.weight");
        if layer.kv_source.is_none() {
            let k = ops::matmul(a, self.matrix_of(l, "self_attn.k_proj"));
            let v = if layer.k_eq_v { k.clone() } else { ops::matmul(a, self.matrix_of(l, "self_attn.v_proj")) };
            cache.values[l].push(v.chunks_exact(d).flat_map(|head| ops::rms_norm(head, None, eps)).collect());
            cache.keys[l].push(turned(&k, "self_attn.k_norm.weight"));
        }
        let source = layer.kv_source.unwrap_or(l);
        let first = match layer.kind {
            LayerKind::Sliding => (position + 1).saturating_sub(c.sliding_window),
            LayerKind::Full => 0,
        };
        let group = c.num_attention_heads / layer.num_key_value_heads;
        let mut out = Vec::with_capacity(q.len());
        for (j, head) in q.chunks_exact(d).enumerate() {
            let part = j / group * d..(j / group + 1) * d;
            let slice = |rows: &'_ [Vec<f32>]| -> Vec<Vec<f32>> {
                rows[first..=position].iter().map(|row| row[part.clone()].to_vec()).collect()
            };
            let (keys, values) = (slice(&cache.keys[source]), slice(&cache.values[source]));
            let (keys, values): (Vec<&[f32]>, Vec<&[f32]>) =
                (keys.iter().map(Vec::as_slice).collect(), values.iter().map(Vec::as_slice).collect());
            out.extend(ops::attention(head, &keys, &values));
        }
        ops::matmul(&out, self.matrix_of(l, "self_attn.o_proj"))
    }

    fn mlp(&self, prefix: &str, x: &[f32]) -> Vec<f32> {
        let product = |x: &[f32], name: &str| ops::matmul(x, &self.matrices[&format!("{prefix}.{name}")]);
        product(&ops::gelu_mul(&product(x, "gate_proj"), &product(x, "up_proj")), "down_proj")
    }

    /// The router's weights and the weighted sum of the chosen experts; both start from the residual stream.
    fn experts(&self, l: usize, h: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (c, eps) = (&self.config, self.config.rms_norm_eps);
        let root = (c.hidden_size as f32).powf(-0.5);
        let scale: Vec<f32> = self.vector_of(l, "router.scale").iter().map(|s| s * root).collect();
        let logits = ops::matmul(&ops::rms_norm(h, Some(&scale), eps), self.matrix_of(l, "router.proj"));
        let (ids, weights) = ops::router(&logits, self.vector_of(l, "router.per_expert_scale"), c.top_k_experts);
        let y = ops::rms_norm(h, Some(self.vector_of(l, "pre_feedforward_layernorm_2.weight")), eps);
        let mut sum = vec![0.0; h.len()];
        for (id, weight) in ids.iter().zip(&weights) {
            for (s, v) in sum.iter_mut().zip(self.mlp(&format!("layers.{l}.experts.{id}"), &y)) {
                *s += weight * v;
            }
        }
        (weights, sum)
    }

    fn matrix_of(&self, layer: usize, name: &str) -> &Matrix {
        &self.matrices[&format!("layers.{layer}.{name}")]
    }

    fn vector_of(&self, layer: usize, name: &str) -> &[f32] {
        &self.vectors[&format!("layers.{layer}.{name}")]
    }
}
