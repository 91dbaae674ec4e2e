//! Attention and the cache that it reads.

use half::f16;

use super::product::dot;
use crate::kernels::{KV_BLOCK, KvDtype, StepRow};

/// Softmax attention of one query head over keys and values `[positions, head_dim]`, all of them visible, no scale.
pub fn attention(q: &[f32], keys: &[&[f32]], values: &[&[f32]]) -> Vec<f32> {
    let scores: Vec<f64> = keys.iter().map(|k| dot(q, k)).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = exps.iter().sum();
    let mut out = vec![0.0f64; q.len()];
    for (e, v) in exps.iter().zip(values) {
        for (o, v) in out.iter_mut().zip(*v) {
            *o += e / total * f64::from(*v);
        }
    }
    out.into_iter().map(|v| v as f32).collect()
}

/// As [`attention`], `block` positions at a time: where a larger score turns up, what was added up before is scaled down.
pub fn attention_tile(q: &[f32], keys: &[&[f32]], values: &[&[f32]], block: usize) -> Vec<f32> {
    let (mut largest, mut total, mut out) = (f64::NEG_INFINITY, 0.0, vec![0.0f64; q.len()]);
    for (keys, values) in keys.chunks(block).zip(values.chunks(block)) {
        let scores: Vec<f64> = keys.iter().map(|k| dot(q, k)).collect();
        let new_largest = scores.iter().copied().fold(largest, f64::max);
        let rescale = (largest - new_largest).exp();
        total *= rescale;
        out.iter_mut().for_each(|o| *o *= rescale);
        for (score, v) in scores.iter().zip(values) {
            let weight = (score - new_largest).exp();
            total += weight;
            out.iter_mut().zip(*v).for_each(|(o, v)| *o += weight * f64::from(*v));
        }
        largest = new_largest;
    }
    out.into_iter().map(|o| (o / total) as f32).collect()
}

/// As [`attention`] by cooperative matrices: queries, keys and values are rounded to f16, and so are the weights relative to
/// the largest one. (A device has seen a part of the scores when it rounds a weight, so that its largest may be smaller.)
pub fn attention_matrix(q: &[f32], keys: &[&[f32]], values: &[&[f32]]) -> Vec<f32> {
    let halves = |x: &[f32]| -> Vec<f32> { x.iter().map(|&v| f16::from_f32(v).to_f32()).collect() };
    let q = halves(q);
    let scores: Vec<f64> = keys.iter().map(|k| dot(&q, &halves(k))).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| f16::from_f64((s - largest).exp()).to_f64()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0f64; q.len()];
    for (weight, v) in weights.iter().zip(values) {
        out.iter_mut().zip(halves(v)).for_each(|(o, v)| *o += weight / total * f64::from(v));
    }
    out.into_iter().map(|v| v as f32).collect()
}

/// What a share of a row's positions has come to.
#[derive(Debug, Clone, Copy)]
pub struct Share<'a> {
    /// The largest score.
    pub largest: f32,
    /// The sum of `exp(score - largest)`.
    pub total: f32,
    /// The sum of the values so weighted, `[head_dim]`.
    pub sum: &'a [f32],
}

/// Attention of one query head from the shares of its positions.
pub fn attention_join(shares: &[Share]) -> Vec<f32> {
    let largest = shares.iter().map(|s| f64::from(s.largest)).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = shares.iter().map(|s| (f64::from(s.largest) - largest).exp()).collect();
    let total: f64 = weights.iter().zip(shares).map(|(w, s)| w * f64::from(s.total)).sum();
    let sum = |i: usize| weights.iter().zip(shares).map(|(w, s)| w * f64::from(s.sum[i])).sum::<f64>();
    (0..shares[0].sum.len()).map(|i| (sum(i) / total) as f32).collect()
}

/// Puts a step's `new` rows of `width` words into the rings of their slots: later ones replace earlier ones.
pub fn kv_store(cache: &mut [u32], new: &[u32], width: usize, capacity: usize, rows: &[StepRow]) {
    for (row, new) in rows.iter().zip(new.chunks_exact(width)) {
        let place = row.slot as usize * capacity + row.position as usize % capacity;
        cache[place * width..][..width].copy_from_slice(new);
    }
}

/// A head of keys or values as words of the KV cache: f16 rounded to the nearest, int8 with a scale for each block of 32
/// values. The head is padded with zeros to whole blocks.
pub fn kv_pack(head: &[f32], dtype: KvDtype) -> Vec<u32> {
    let mut padded = head.to_vec();
    padded.resize(head.len().next_multiple_of(KV_BLOCK), 0.0);
    let half = |v: f32| {
        let finite = if v.is_nan() { v } else { v.clamp(-65504.0, 65504.0) };
        u32::from(f16::from_f32(finite).to_bits())
    };
    match dtype {
        KvDtype::F32 => padded.into_iter().map(f32::to_bits).collect(),
        KvDtype::F16 => padded.chunks_exact(2).map(|pair| half(pair[0]) | half(pair[1]) << 16).collect(),
        KvDtype::Int8 => {
            let blocks = || padded.chunks_exact(KV_BLOCK);
            let largest = |block: &[f32]| block.iter().fold(0.0f32, |a, v| if v.abs() > a { v.abs() } else { a });
            let code = |v: f32, largest: f32| {
                let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
                (v * inverse).round_ties_even().clamp(-127.0, 127.0) as i8
            };
            let codes: Vec<u8> = blocks().flat_map(|b| b.iter().map(|&v| code(v, largest(b)) as u8)).collect();
            let mut words: Vec<u32> =
                codes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
            words.extend(blocks().map(|b| (largest(b) * (1.0 / 127.0)).to_bits()));
            words.resize(dtype.head_words(head.len()), 0);
            words
        }
    }
}

/// What attention reads of a head's words in the KV cache: `head_dim` values.
pub fn kv_unpack(words: &[u32], dtype: KvDtype, head_dim: usize) -> Vec<f32> {
    let padded = head_dim.next_multiple_of(KV_BLOCK);
    let value = |i: usize| match dtype {
        KvDtype::F32 => f32::from_bits(words[i]),
        KvDtype::F16 => f16::from_bits((words[i / 2] >> (16 * (i % 2))) as u16).to_f32(),
        KvDtype::Int8 => {
            let code = words[i / 4].to_le_bytes()[i % 4] as i8;
            f32::from(code) * f32::from_bits(words[padded / 4 + i / KV_BLOCK])
        }
    };
    (0..head_dim).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the positions are cut, joined they are the whole: by blocks, and as shares.
    #[test]
    fn parts_of_the_positions_are_the_whole() {
        let value = |i: usize| ((i * 7919 + 13) % 101) as f32 / 10.0 - 5.0;
        let (d, n) = (8, 37);
        let rows: Vec<Vec<f32>> = (0..2 * n).map(|r| (0..d).map(|i| value(r * d + i)).collect()).collect();
        let all: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let (keys, values) = all.split_at(n);
        let q: Vec<f32> = (0..d).map(|i| value(1000 + i)).collect();
        let whole = attention(&q, keys, values);
        let close = |other: &[f32]| whole.iter().zip(other).all(|(a, b)| (a - b).abs() <= 1e-6 * (1.0 + a.abs()));
        for block in [1, 2, 16, 36, 37, 64] {
            assert!(close(&attention_tile(&q, keys, values, block)), "blocks of {block}");
            let parts: Vec<(f32, f32, Vec<f32>)> = keys
                .chunks(block)
                .zip(values.chunks(block))
                .map(|(k, v)| {
                    let scores: Vec<f64> = k.iter().map(|k| dot(&q, k)).collect();
                    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max) as f32;
                    let total: f64 = scores.iter().map(|s| (s - f64::from(largest)).exp()).sum();
                    let sum = attention(&q, k, v).iter().map(|o| (f64::from(*o) * total) as f32).collect();
                    (largest, total as f32, sum)
                })
                .collect();
            let shares: Vec<Share> =
                parts.iter().map(|(largest, total, sum)| Share { largest: *largest, total: *total, sum }).collect();
            assert!(close(&attention_join(&shares)), "shares of {block}");
        }
    }
}
