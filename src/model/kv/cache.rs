//! Keys and values of all slots: a ring a little longer than the window in sliding layers, growing buffers in full ones.

use crate::Result;
use crate::gemma4::{Config, LayerConfig, LayerKind};
use crate::gpu::{Gpu, Place, Recorder, Tensor};
use crate::kernels::KvDtype;
use crate::model::run::step::FEW_ROWS;
use crate::quant::CHUNK;

/// Positions that a full layer's cache starts with; it doubles when they are used up.
const FIRST_CAPACITY: usize = 2048;
/// Positions by which it grows where it cannot double.
const SMALL_STEP: usize = 256;

/// Keys and values of one layer, `[slots * capacity, kv_heads * head_words]` words each.
#[derive(Debug)]
pub(crate) struct LayerCache {
    pub k: Tensor,
    pub v: Tensor,
    pub capacity: usize,
    kind: LayerKind,
    /// Keys and values of the ring as they were where a slot was marked, of the same shape.
    marked: Option<Marked>,
}

/// Copies of keys and values.
#[derive(Debug)]
struct Marked {
    k: Tensor,
    v: Tensor,
}

/// The larger cache of a layer.
struct Grown {
    layer: usize,
    cache: LayerCache,
}

/// What a cache is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KvLayout {
    /// Sequences side by side.
    pub slots: usize,
    /// Positions of each.
    pub context: usize,
    /// Whether full layers have room for all positions at once, else for few at first.
    pub is_full: bool,
    /// How keys and values are held.
    pub dtype: KvDtype,
    /// Whether rings can be copied.
    pub has_marks: bool,
}

/// What each slot holds, and the buffers of the layers that have keys and values of their own.
#[derive(Debug)]
pub(crate) struct KvCache {
    layers: Vec<Option<LayerCache>>,
    slots: Vec<Slot>,
    context: usize,
    window: usize,
    dtype: KvDtype,
}

#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    now: Held,
    /// What the copies of its rings hold.
    mark: Option<Held>,
}

/// What a slot's buffers hold.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    /// Positions 0 to `len` are valid.
    len: usize,
    /// One more than the largest position ever written: what the rings have overwritten follows from it.
    written: usize,
}

/// Positions that a sliding layer's ring holds: the window, and room for a small step's rows to be written before they
/// are read, without overwriting what the step's first row still sees.
pub(crate) fn ring_capacity(window: usize, context: usize) -> usize {
    (window + FEW_ROWS - 1).min(context)
}

/// Bytes of keys, or of values, of one position in the widest full layer.
pub(crate) fn largest_position_bytes(config: &Config, kv: KvDtype) -> u64 {
    let full = config.layers.iter().filter(|layer| layer.kind == LayerKind::Full);
    let words =
        |layer: &LayerConfig| (layer.num_key_value_heads * kv.head_words(layer.head_dim)).next_multiple_of(CHUNK);
    full.map(|layer| 4 * words(layer) as u64).max().unwrap_or(0)
}

impl LayerCache {
    fn size_bytes(&self) -> u64 {
        let copies = self.marked.as_ref().map_or(0, |Marked { k, v }| k.bytes(k.rows) + v.bytes(v.rows));
        self.k.bytes(self.k.rows) + self.v.bytes(self.v.rows) + copies
    }
}

/// A slot's part of a ring and of the ring's copy.
struct RingPart<'a> {
    ring: &'a wgpu::Buffer,
    copy: &'a wgpu::Buffer,
    /// Where it begins in both.
    offset: u64,
    bytes: u64,
}

impl<'a> RingPart<'a> {
    fn of(&self, buffer: &'a wgpu::Buffer) -> Place<'a> {
        Place { buffer, offset: self.offset }
    }
}

impl KvCache {
    /// A cache of the layers of `config`.
    pub(crate) fn new(gpu: &Gpu, config: &Config, layout: KvLayout) -> Result<Self> {
        let KvLayout { slots, context, is_full, dtype, has_marks } = layout;
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
            let marked = match layer.kind {
                LayerKind::Sliding if has_marks => Some(Marked { k: new("marked_k")?, v: new("marked_v")? }),
                LayerKind::Sliding | LayerKind::Full => None,
            };
            layers.push(Some(LayerCache { k: new("k")?, v: new("v")?, capacity, kind: layer.kind, marked }));
        }
        Ok(KvCache { layers, slots: vec![Slot::default(); slots], context, window: config.sliding_window, dtype })
    }

    /// The cache that layer `l` writes; `None` where it reads another layer's.
    pub(crate) fn layer(&self, l: usize) -> Option<&LayerCache> {
        self.layers[l].as_ref()
    }

    /// How keys and values are held.
    pub(crate) fn dtype(&self) -> KvDtype {
        self.dtype
    }

    pub(crate) fn n_slots(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn len(&self, slot: usize) -> usize {
        self.slots.get(slot).map_or(0, |slot| slot.now.len)
    }

    /// Notes that `slot` now holds `len` positions.
    pub(crate) fn extend(&mut self, slot: usize, len: usize) {
        let now = &mut self.slots[slot].now;
        now.len = len;
        now.written = now.written.max(len);
    }

    /// Copies the rings of `slot`, so that [`KvCache::truncate`] can come back to what it holds now, or a little less. Does
    /// nothing where there is no memory for copies.
    pub(crate) fn mark(&mut self, gpu: &Gpu, slot: usize) {
        let mut copies = self.rings(slot).peekable();
        if copies.peek().is_none() {
            return;
        }
        let mut recorder = Recorder::new(gpu);
        copies.for_each(|part| recorder.copy(part.of(part.ring), part.of(part.copy), part.bytes));
        recorder.submit();
        self.slots[slot].mark = Some(self.slots[slot].now);
    }

    /// Of each ring and its copy the part of `slot`.
    fn rings(&self, slot: usize) -> impl Iterator<Item = RingPart<'_>> {
        let marked = self.layers.iter().flatten().filter_map(|layer| Some((layer, layer.marked.as_ref()?)));
        marked.flat_map(move |(layer, Marked { k, v })| {
            let (offset, bytes) = (k.bytes(slot * layer.capacity), k.bytes(layer.capacity));
            [(&layer.k, k), (&layer.v, v)].map(|(ring, copy)| RingPart {
                ring: &ring.buffer,
                copy: &copy.buffer,
                offset,
                bytes,
            })
        })
    }

    /// Keeps the first `len` positions of `slot`, or none where neither a ring nor its copy holds the window before them any
    /// more. Returns how many are kept.
    pub(crate) fn truncate(&mut self, gpu: &Gpu, slot: usize, len: usize) -> usize {
        let (window, ring) = (self.window, ring_capacity(self.window, self.context));
        let has_ring = self.layers.iter().flatten().any(|layer| layer.kind == LayerKind::Sliding);
        let Slot { now, mark } = self.slots[slot];
        let len = len.min(now.len);
        let reaches = |held: Held, len: usize| {
            let (needed, overwritten) = ((len + 1).saturating_sub(window), held.written.saturating_sub(ring));
            len > 0 && (!has_ring || needed >= overwritten)
        };
        // What stood behind `len` is another text's from here on, in the copies too.
        let mark = mark.map(|mark| Held { len: mark.len.min(len), ..mark });
        self.slots[slot] = match mark {
            _ if reaches(now, len) => Slot { now: Held { len, ..now }, mark },
            Some(held) if reaches(held, held.len) => {
                let mut recorder = Recorder::new(gpu);
                self.rings(slot).for_each(|part| recorder.copy(part.of(part.copy), part.of(part.ring), part.bytes));
                recorder.submit();
                Slot { now: held, mark }
            }
            _ => Slot::default(),
        };
        self.slots[slot].now.len
    }

    /// Bytes of all buffers.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.layers.iter().flatten().map(LayerCache::size_bytes).sum()
    }

    /// Bytes on the device once full layers have grown to the context.
    pub(crate) fn full_size_bytes(&self) -> u64 {
        let capacity = |layer: &LayerCache| match layer.kind {
            LayerKind::Sliding => layer.capacity,
            LayerKind::Full => self.context,
        };
        let bytes = |layer: &LayerCache| {
            let copies = if layer.marked.is_some() { 2 } else { 1 };
            layer.k.bytes(self.slots.len() * capacity(layer)) * 2 * copies
        };
        self.layers.iter().flatten().map(bytes).sum()
    }

    /// Positions that every full layer has room for.
    pub(crate) fn capacity(&self) -> usize {
        let full = self.layers.iter().flatten().filter(|layer| layer.kind == LayerKind::Full);
        full.map(|layer| layer.capacity).min().unwrap_or(self.context)
    }

    /// Larger buffers for the full layers with less than `capacity` positions.
    fn grown(&self, gpu: &Gpu, capacity: usize) -> Result<Vec<Grown>> {
        let mut grown: Vec<Grown> = Vec::new();
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
                Ok((k, v)) => {
                    let cache = LayerCache { k, v, capacity, kind: layer.kind, marked: None };
                    grown.push(Grown { layer: l, cache });
                }
                Err(e) => {
                    gpu.forget_bytes(
                        grown.iter().map(|Grown { cache: c, .. }| c.k.bytes(c.k.rows) + c.v.bytes(c.v.rows)).sum(),
                    );
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
    pub(crate) fn reserve(&mut self, gpu: &Gpu, len: usize) -> Result<bool> {
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
        for Grown { layer, cache: new } in &grown {
            let old = self.layers[*layer].as_ref().expect("grown from it");
            for slot in 0..slots {
                let (from, to) = (old.k.bytes(slot * old.capacity), old.k.bytes(slot * new.capacity));
                for (a, b) in [(&old.k, &new.k), (&old.v, &new.v)] {
                    let (from, to) =
                        (Place { buffer: &a.buffer, offset: from }, Place { buffer: &b.buffer, offset: to });
                    recorder.copy(from, to, a.bytes(old.capacity));
                }
            }
            released += 2 * old.k.bytes(old.k.rows);
        }
        recorder.submit();
        gpu.wait()?;
        gpu.forget_bytes(released);
        for Grown { layer, cache } in grown {
            self.layers[layer] = Some(cache);
        }
        Ok(true)
    }
}
