//! Keys and values of all slots: a ring a little longer than the window in sliding layers, growing buffers in full ones.

use super::activations::FEW_ROWS;
use crate::Result;
use crate::checkpoint::{Config, LayerConfig, LayerKind};
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::kernels::KvDtype;
use crate::quant::CHUNK;

/// Positions that a full layer's cache starts with; it doubles when they are used up.
const FIRST_CAPACITY: usize = 2048;
/// Positions by which it grows where it cannot double.
const SMALL_STEP: usize = 256;

/// Keys and values of one layer, `[slots * capacity, kv_heads * head_words]` words each.
#[derive(Debug)]
pub(super) struct LayerCache {
    pub k: Tensor,
    pub v: Tensor,
    pub capacity: usize,
    kind: LayerKind,
}

/// What each slot holds, and the buffers of the layers that have keys and values of their own.
#[derive(Debug)]
pub(super) struct KvCache {
    layers: Vec<Option<LayerCache>>,
    slots: Vec<Slot>,
    context: usize,
    window: usize,
    dtype: KvDtype,
}

#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    /// Positions 0 to `len` are valid.
    len: usize,
    /// One more than the largest position ever written: what the rings have overwritten follows from it.
    written: usize,
}

/// Positions that a sliding layer's ring holds: the window, and room for a small step's rows to be written before they
/// are read, without overwriting what the step's first row still sees.
pub(super) fn ring_capacity(window: usize, context: usize) -> usize {
    (window + FEW_ROWS - 1).min(context)
}

/// Bytes of keys, or of values, of one position in the widest full layer.
pub(super) fn largest_position_bytes(config: &Config, kv: KvDtype) -> u64 {
    let full = config.layers.iter().filter(|layer| layer.kind == LayerKind::Full);
    let words =
        |layer: &LayerConfig| (layer.num_key_value_heads * kv.head_words(layer.head_dim)).next_multiple_of(CHUNK);
    full.map(|layer| 4 * words(layer) as u64).max().unwrap_or(0)
}

impl KvCache {
    /// A cache for `context` positions in each of `slots`: full layers have room for all of them at once where it `is_full`,
    /// else for few at first.
    pub(super) fn new(
        gpu: &Gpu,
        config: &Config,
        slots: usize,
        (context, is_full): (usize, bool),
        dtype: KvDtype,
    ) -> Result<Self> {
        let mut layers = Vec::new();
        for (l, layer) in config.layers.iter().enumerate() {
            if layer.kv_source.is_some() {
                layers.push(None);
                continue;
            }
            let capacity = match layer.kind {
                LayerKind::Sliding => ring_capacity(config.sliding_window, context),
                LayerKind::Full if is_full => context,
                LayerKind::Full => FIRST_CAPACITY.min(context),
            };
            let width = layer.num_key_value_heads * dtype.head_words(layer.head_dim);
            let new = |what| Tensor::new(gpu, &format!("layer.{l:02}/{what}_cache"), slots * capacity, width);
            layers.push(Some(LayerCache { k: new("k")?, v: new("v")?, capacity, kind: layer.kind }));
        }
        Ok(KvCache { layers, slots: vec![Slot::default(); slots], context, window: config.sliding_window, dtype })
    }

    /// The cache that layer `l` writes; `None` where it reads another layer's.
    pub(super) fn layer(&self, l: usize) -> Option<&LayerCache> {
        self.layers[l].as_ref()
    }

    /// How keys and values are held.
    pub(super) fn dtype(&self) -> KvDtype {
        self.dtype
    }

    pub(super) fn n_slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn len(&self, slot: usize) -> usize {
        self.slots[slot].len
    }

    /// Notes that `slot` now holds `len` positions.
    pub(super) fn extend(&mut self, slot: usize, len: usize) {
        let state = &mut self.slots[slot];
        state.len = len;
        state.written = state.written.max(len);
    }

    /// Keeps the first `len` positions of `slot`, or none where a ring no longer holds the window before them. Returns
    /// how many are kept.
    pub(super) fn truncate(&mut self, slot: usize, len: usize) -> usize {
        let ring = ring_capacity(self.window, self.context);
        let has_ring = self.layers.iter().flatten().any(|layer| layer.kind == LayerKind::Sliding);
        let state = &mut self.slots[slot];
        let len = len.min(state.len);
        let (needed, overwritten) = ((len + 1).saturating_sub(self.window), state.written.saturating_sub(ring));
        if len == 0 || (has_ring && needed < overwritten) {
            *state = Slot::default();
        } else {
            state.len = len;
        }
        state.len
    }

    /// Bytes of all buffers.
    pub(super) fn size_bytes(&self) -> u64 {
        self.layers.iter().flatten().map(|layer| layer.k.bytes(layer.k.rows) + layer.v.bytes(layer.v.rows)).sum()
    }

    /// Bytes on the device once full layers have grown to the context.
    pub(super) fn full_size_bytes(&self) -> u64 {
        let capacity = |layer: &LayerCache| match layer.kind {
            LayerKind::Sliding => layer.capacity,
            LayerKind::Full => self.context,
        };
        let bytes = |layer: &LayerCache| layer.k.bytes(self.slots.len() * capacity(layer)) * 2;
        self.layers.iter().flatten().map(bytes).sum()
    }

    /// Positions that every full layer has room for.
    pub(super) fn capacity(&self) -> usize {
        let full = self.layers.iter().flatten().filter(|layer| layer.kind == LayerKind::Full);
        full.map(|layer| layer.capacity).min().unwrap_or(self.context)
    }

    /// Larger buffers for the full layers with less than `capacity` positions.
    fn grown(&self, gpu: &Gpu, capacity: usize) -> Result<Vec<(usize, LayerCache)>> {
        let mut grown: Vec<(usize, LayerCache)> = Vec::new();
        let new = |l: usize, what: &str, width: usize| {
            Tensor::new(gpu, &format!("layer.{l:02}/{what}_cache"), self.slots.len() * capacity, width)
        };
        for (l, layer) in self.layers.iter().enumerate() {
            let Some(layer) = layer.as_ref().filter(|c| c.kind == LayerKind::Full && c.capacity < capacity) else {
                continue;
            };
            let pair = new(l, "k", layer.k.width).and_then(|k| match new(l, "v", layer.v.width) {
                Ok(v) => Ok((k, v)),
                Err(e) => {
                    gpu.forget_bytes(k.bytes(k.rows));
                    Err(e)
                }
            });
            match pair {
                Ok((k, v)) => grown.push((l, LayerCache { k, v, capacity, kind: layer.kind })),
                Err(e) => {
                    gpu.forget_bytes(grown.iter().map(|(_, c)| c.k.bytes(c.k.rows) + c.v.bytes(c.v.rows)).sum());
                    return Err(e);
                }
            }
        }
        Ok(grown)
    }

    /// Makes room for positions up to `len` in the full layers; true where buffers were replaced, so that whatever is
    /// bound to them must be bound again.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where the larger buffers do not fit; the old ones stay.
    pub(super) fn reserve(&mut self, gpu: &Gpu, len: usize) -> Result<bool> {
        if len <= self.capacity() {
            return Ok(false);
        }
        let slots = self.slots.len();
        let doubled = len.next_power_of_two().max(FIRST_CAPACITY).min(self.context);
        // Where doubling does not fit, a little more than what is needed may.
        let grown = self
            .grown(gpu, doubled)
            .or_else(|_| self.grown(gpu, len.next_multiple_of(SMALL_STEP).min(self.context)))?;
        let mut recorder = Recorder::new(gpu);
        let mut released = 0;
        for (l, new) in &grown {
            let old = self.layers[*l].as_ref().expect("grown from it");
            for slot in 0..slots {
                let (from, to) = (old.k.bytes(slot * old.capacity), old.k.bytes(slot * new.capacity));
                for (a, b) in [(&old.k, &new.k), (&old.v, &new.v)] {
                    recorder.copy((&a.buffer, from), (&b.buffer, to), a.bytes(old.capacity));
                }
            }
            released += 2 * old.k.bytes(old.k.rows);
        }
        recorder.submit();
        gpu.wait()?;
        gpu.forget_bytes(released);
        for (l, new) in grown {
            self.layers[l] = Some(new);
        }
        Ok(true)
    }
}
