//! Attention of a layer: queries, keys and values, what they attend to, and `o_proj`.

use super::activations::{AttentionActivations, HeadShape, Rotation, head_shapes, rotations};
use super::layer::LayerPlan;
use super::op::Body;
use crate::Result;
use crate::gemma4::LayerKind;
use crate::kernels::attention::head_norm_rope::{Heads, Inputs, Kv, KvPair, KvTarget};
use crate::kernels::attention::{attention, attention_tile, head_norm_rope, kv_store};
use crate::kernels::product::Product;
use crate::kernels::rounding::int8_by_16::Input;
use crate::model::load::share::HeadGroup;
use crate::model::load::weights::LayerWeights;

impl<'a> LayerPlan<'a> {
    /// (6) to (8) and `o_proj`.
    pub(super) fn attention(&mut self, w: &'a LayerWeights) -> Result<()> {
        let (of, l) = (self.of, self.l);
        let (c, a, b) = (&of.share.config, of.activations, self.buffers());
        let layer = &c.layers[l];
        self.product("qkv_proj", Product::joined(&w.qkv, of.rows(), of.x(), &b.qkv))?;
        let kv = match (layer.kv_source, layer.k_eq_v) {
            (Some(_), _) => Kv::Shared,
            (None, true) => Kv::KeysOnly,
            (None, false) => Kv::Both,
        };
        let heads = self.heads();
        let cache = of.cache.layer(layer.kv_source.unwrap_or(l)).expect("a source of keys has a cache");
        let inputs = Inputs { qkv: &b.qkv, kv, norms: &w.qk_norm, rotary: &a.rotary, rows: &a.rows };
        let source = attention::KvSource {
            cache: KvPair { k: &cache.k, v: &cache.v },
            dtype: of.cache.dtype(),
            capacity: cache.capacity,
            window: (layer.kind == LayerKind::Sliding).then_some(c.sliding_window),
        };
        let rounded = of.rows().rounded_for(&b.out_rounded, &w.o_proj.weights);
        if of.body != Body::Chunk {
            let buffers = attention::Buffers { out: &b.out, rounded, shares: Some(&b.shares) };
            for planned in attention::plan(of.planner, "attention", heads, &inputs, buffers, source)? {
                self.push(planned);
            }
        } else {
            // A chunk may be longer than the ring's spare room: its keys stay apart until attention has read the ring.
            let apart = layer.kind == LayerKind::Sliding;
            let new = KvPair { k: &b.k_new, v: &b.v_new };
            let to = head_norm_rope::Outputs {
                q: &b.q,
                queries: attention_tile::queries(of.planner, heads, &b.q, source.dtype),
                kv: match apart {
                    true => KvTarget::Rows(new),
                    false => KvTarget::Cache { cache: source.cache, capacity: cache.capacity },
                },
                dtype: source.dtype,
            };
            self.push(head_norm_rope::plan(of.planner, "head_norm_rope", heads, &inputs, to)?);
            let new = apart.then_some(new);
            let buffers = attention_tile::Buffers { q: &b.q, out: &b.out, rows: &a.rows, row_count: &a.row_count, new };
            self.push(attention_tile::plan(of.planner, "attention", heads, buffers, source)?);
            if apart && !self.feeds_others() && kv != Kv::Shared {
                self.kv_store()?;
            }
        }
        let out = Input { x: &b.out, rounded };
        self.product(w.o_proj.label, Product::new(&w.o_proj.weights, of.rows(), out, &a.attn))?;
        Ok(())
    }

    fn heads(&self) -> Heads {
        let c = &self.of.share.config;
        let layer = &c.layers[self.l];
        let before: Vec<Rotation> = rotations(c).into_iter().take_while(|r| *r != Rotation::of(layer)).collect();
        let HeadGroup { heads_per_kv, first_head } = self.of.share.head_group(self.l);
        Heads {
            n_heads: c.num_attention_heads,
            n_kv_heads: layer.num_key_value_heads,
            heads_per_kv,
            first_head,
            head_dim: layer.head_dim,
            rotated_pairs: layer.rope.rotated_pairs,
            rotary_offset: before.iter().map(|rotation| rotation.rope.rotated_pairs).sum(),
            eps: c.rms_norm_eps,
        }
    }

    /// True where later layers read the keys and values of this one.
    fn feeds_others(&self) -> bool {
        self.of.share.config.layers.iter().any(|layer| layer.kv_source == Some(self.l))
    }

    /// A chunk's keys and values enter a ring that later layers have read by now.
    pub(super) fn store_late(&mut self) -> Result<()> {
        let sliding = self.of.share.config.layers[self.l].kind == LayerKind::Sliding;
        if self.of.body == Body::Chunk && sliding && self.feeds_others() { self.kv_store() } else { Ok(()) }
    }

    fn buffers(&self) -> &'a AttentionActivations {
        let config = &self.of.share.config;
        let shape = HeadShape::of(&config.layers[self.l]);
        let number = head_shapes(config).iter().position(|&s| s == shape).expect("every shape has buffers");
        &self.of.activations.attention[number]
    }

    /// A chunk's keys and values enter the layer's ring.
    fn kv_store(&mut self) -> Result<()> {
        let of = self.of;
        let (b, cache) = (self.buffers(), of.cache.layer(self.l).expect("it has keys of its own"));
        let new = KvPair { k: &b.k_new, v: &b.v_new };
        let old = KvPair { k: &cache.k, v: &cache.v };
        let planned = kv_store::plan(of.planner, "kv_store", new, old, cache.capacity, &of.activations.rows)?;
        self.push(planned);
        Ok(())
    }
}
