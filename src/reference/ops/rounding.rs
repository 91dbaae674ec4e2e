//! Activations as products of few bits read them.

use half::f16;

use crate::quant::CHUNK;

/// Activations that share a scale where products of few rows read them.
const BLOCK: usize = 16;

/// The largest magnitude; NaN where there is one.
fn largest(x: &[f32]) -> f32 {
    // As integers magnitudes compare alike, and NaN is the largest.
    f32::from_bits(x.iter().map(|v| v.to_bits() & 0x7fff_ffff).max().unwrap_or(0))
}

/// Scale and codes of a block: its largest magnitude is 127 scales, and halves go to the even code. Codes are 0 where the
/// scale has no finite inverse. What NaN and infinity become says the scale, which is none either; the codes beside it say
/// nothing.
fn int8(x: &[f32]) -> (f32, Vec<i8>) {
    let largest = largest(x);
    let has_inverse = largest.is_finite() && largest >= 1e-30;
    let code =
        |&v: &f32| if has_inverse { (127.0 * f64::from(v) / f64::from(largest)).round_ties_even() as i8 } else { 0 };
    (largest / 127.0, x.iter().map(code).collect())
}

/// Of each eight codes those of even numbers, then those of odd ones: the order in which codes of 4 bits leave a word.
fn interleaved(codes: &[i8]) -> Vec<i8> {
    codes.chunks_exact(8).flat_map(|eight| [0, 2, 4, 6, 1, 3, 5, 7].map(|i| eight[i])).collect()
}

fn words(codes: &[i8]) -> impl Iterator<Item = u32> {
    codes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]].map(|code| code as u8)))
}

/// One row as int8 in blocks of 16, in the words of `kernels::rounding::int8_by_16`: the codes of all chunks' first blocks, those of the
/// second ones, and for each chunk two scales and two sums of codes times their scale. Blocks beyond the row are zero.
pub fn int8_by_16(x: &[f32]) -> Vec<u32> {
    let chunks = x.len().div_ceil(CHUNK);
    let mut out = vec![0; 12 * chunks];
    for (number, block) in x.chunks(BLOCK).enumerate() {
        let (chunk, half) = (number / 2, number % 2);
        let (scale, mut codes) = int8(block);
        let sum = scale * codes.iter().map(|&code| i32::from(code)).sum::<i32>() as f32;
        codes.resize(BLOCK, 0);
        for (i, word) in words(&interleaved(&codes)).enumerate() {
            out[4 * (half * chunks + chunk) + i] = word;
        }
        let scales = 4 * (2 * chunks + chunk);
        (out[scales + half], out[scales + 2 + half]) = (scale.to_bits(), sum.to_bits());
    }
    out
}

/// One row of whole chunks as int8 in blocks of 32: the codes, as they are or in the order of codes of 4 bits, then the
/// blocks' scales, and zeros up to whole vectors of four.
pub fn int8_by_32(x: &[f32], in_order_of_codes: bool) -> Vec<u32> {
    let blocks: Vec<(f32, Vec<i8>)> = x.chunks_exact(CHUNK).map(int8).collect();
    let codes = blocks.iter().flat_map(|(_, codes)| if in_order_of_codes { interleaved(codes) } else { codes.clone() });
    let mut out: Vec<u32> = words(&codes.collect::<Vec<i8>>()).collect();
    out.extend(blocks.iter().map(|(scale, _)| scale.to_bits()));
    out.resize(x.len() / 4 + blocks.len().next_multiple_of(4), 0);
    out
}

/// One row in f16, and the power of two that its values are to be multiplied by: it takes the largest magnitude to
/// `[2^13, 2^14)`, as far as there are such powers.
pub fn f16_by_row(x: &[f32]) -> (Vec<f16>, f32) {
    let exponent = (largest(x).to_bits() >> 23).clamp(14, 254);
    let factor = f32::from_bits((exponent - 13) << 23);
    (x.iter().map(|&v| f16::from_f64(f64::from(v) / f64::from(factor))).collect(), factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_where_products_look_for_them() {
        let x: Vec<f32> = (0..32).map(|i| if i == 31 { 127.0 } else { i as f32 }).collect();
        let plain = int8_by_32(&x, false);
        assert_eq!(plain[..3], [0x0302_0100, 0x0706_0504, 0x0b0a_0908]);
        assert_eq!((plain[8], plain.len()), (1.0f32.to_bits(), 12), "a scale of one, and padding");
        assert_eq!(int8_by_32(&x, true)[..2], [0x0604_0200, 0x0705_0301]);
        // Each half of the chunk has a scale of its own: 15 / 127, and 1.
        let words = int8_by_16(&x);
        assert_eq!(words[4..6], [0x1614_1210, 0x1715_1311]);
        assert_eq!(words[9..12].iter().map(|&w| f32::from_bits(w)).collect::<Vec<_>>()[0], 1.0);
        assert_eq!(f32::from_bits(words[11]), (16..31).sum::<i32>() as f32 + 127.0);
        assert_eq!(f32::from_bits(words[8]), 15.0 / 127.0);
    }

    #[test]
    fn rows_of_f16_use_its_range() {
        for (largest, factor) in
            [(1.0, 2f32.powi(-13)), (16384.0, 2.0), (0.0, f32::MIN_POSITIVE), (f32::MAX, 2f32.powi(114))]
        {
            let (values, found) = f16_by_row(&[largest, -largest / 2.0]);
            assert_eq!(found, factor, "{largest}");
            assert!(
                values[0].to_f32().abs() < 16385.0 && f64::from(values[1].to_f32()) * 2.0 == -values[0].to_f64(),
                "{largest}"
            );
        }
        let (values, factor) = f16_by_row(&[f32::NAN, 1.0, f32::INFINITY]);
        assert!(values[0].is_nan() && values[2].is_infinite() && factor.is_finite());
    }
}
