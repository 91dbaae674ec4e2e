//! Random GPTQ matrices against the formula.

use half::f16;
use lapidary::quant::{self, Dtype, GroupIndex, Grouped, Matrix, Shift};
use lapidary::testing::quant::gptq::{self, Raw, ZeroPoints};

use super::seed::seed;
use super::{assert_same, rows_of};

/// Random words of a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn words(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.next() as u32).collect()
    }

    /// Finite scales: any sign and exponent, zeros and subnormals included.
    fn scales(&mut self, dtype: Dtype, count: usize) -> Vec<u32> {
        let finite = |bits: u32| if bits & 0x7f80 == 0x7f80 { bits & !0x0080 } else { bits };
        let half = |bits: u32| match dtype {
            Dtype::F16 if bits & 0x7c00 == 0x7c00 => bits & !0x0400,
            Dtype::BF16 => finite(bits),
            _ => bits,
        };
        let edges = [0x0001, 0x8001, 0x03ff, 0x0000, 0x00a8, 0x80a8];
        (0..dtype.words(count))
            .map(|word| match dtype {
                Dtype::F32 => finite(self.next() as u32 >> 16) << 16 | 0x1234,
                _ if word < edges.len() => half(self.next() as u32 & 0xffff) << 16 | edges[word],
                _ => half(self.next() as u32 & 0xffff) << 16 | half(self.next() as u32 & 0xffff),
            })
            .collect()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    None,
    Sequential,
    Shuffled,
}

/// One synthetic matrix through `gptq::pack`, whole and in part, against the formula.
fn check_pack(
    format: Grouped,
    shape: [usize; 2],
    zero_points: ZeroPoints,
    options: (bool, Order),
    random: &mut Random,
) {
    let ([n_count, k_count], (symmetric, order)) = (shape, options);
    let (groups, bits, mask) = (k_count.div_ceil(format.group), format.bits, (1u32 << format.bits) - 1);
    let (per_word, what) = (32 / bits as usize, format!("{format:?} {shape:?} {zero_points:?}"));
    let stored = match (zero_points, bits) {
        (ZeroPoints::MinusOne, 4) => 0x7777_7777,
        (ZeroPoints::MinusOne, _) => 0x7f7f_7f7f,
        (ZeroPoints::AsStored, 4) => 0x8888_8888,
        (ZeroPoints::AsStored, _) => 0x8080_8080,
    };
    let qweight = random.words(k_count / per_word * n_count);
    let zero_words = groups * n_count / per_word;
    let qzeros = if symmetric { vec![stored; zero_words] } else { random.words(zero_words) };
    let scales = random.scales(format.scale, groups * n_count);
    let mut table: Vec<u32> = (0..k_count).map(|k| (k / format.group) as u32).collect();
    if order == Order::Shuffled {
        for k in (1..k_count).rev() {
            table.swap(k, random.next() as usize % (k + 1));
        }
    }
    let g_idx = (order != Order::None).then_some(table.as_slice());
    let (in_features, out_features, qweight, qzeros, scales) =
        (k_count, n_count, &qweight[..], &qzeros[..], &scales[..]);
    let raw = Raw { format, in_features, out_features, zero_points, qweight, qzeros, scales, g_idx };
    let scale = |i: usize| match format.scale {
        Dtype::F32 => f32::from_bits(scales[i]),
        Dtype::F16 => f16::from_bits((scales[i / 2] >> (16 * (i % 2))) as u16).to_f32(),
        Dtype::BF16 => f32::from_bits((scales[i / 2] >> (16 * (i % 2))) << 16),
    };
    let weight = |n: usize, k: usize| {
        let g = table[k] as usize;
        let code = (qweight[k / per_word * n_count + n] >> (bits as usize * (k % per_word))) & mask;
        let zeros = zero_points.decode(qzeros[g * (n_count / per_word) + n / per_word], bits);
        let zero = zeros >> (bits as usize * (n % per_word)) & mask;
        scale(g * n_count + n) * (code as f32 - zero as f32)
    };
    for rows in [0..n_count, 0..1, n_count - 1..n_count, 3..n_count - 2, 5..5] {
        let packed = gptq::pack(&raw, rows.clone());
        assert_eq!(packed.zeros.is_none(), symmetric, "{what}");
        assert_eq!(packed.format.shift == Shift::None, symmetric, "{what}");
        let moved = order == Order::Shuffled && groups > 1 && !table.is_sorted();
        assert_eq!(matches!(packed.group_index, GroupIndex::PerRow(_)), moved, "{what}");
        assert_eq!(packed.format.order == quant::Order::PerRow, moved, "{what}");
        let expected: Vec<f32> =
            rows.flat_map(|n| (0..k_count).map(move |k| (n, k))).map(|(n, k)| weight(n, k)).collect();
        let matrix = Matrix::Packed(packed);
        assert_same(&what, &rows_of(&matrix), &expected);
    }
}

#[test]
fn synthetic_matrices_equal_the_formula() {
    let mut random = Random(seed(7));
    let mut cases = 0;
    for (in_features, out_features) in
        [(8usize, 8), (32, 8), (40, 24), (96, 48), (200, 72), (704, 40), (2112, 8), (264, 328)]
    {
        for group_size in [16, 32, 64, 128, in_features] {
            for scale_dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
                for zero_points in [ZeroPoints::MinusOne, ZeroPoints::AsStored] {
                    for order in [Order::None, Order::Sequential, Order::Shuffled] {
                        for bits in [4, 8] {
                            let format = Grouped::symmetric(bits, group_size, scale_dtype);
                            let (shape, options) = ([out_features, in_features], (cases % 2 == 0, order));
                            check_pack(format, shape, zero_points, options, &mut random);
                        }
                        cases += 1;
                    }
                }
            }
        }
    }
    println!("{} matrices", 2 * cases);
}

/// A zero point of 0 is stored as 15 (or 255) and borrows from the next field; only an addition to the whole word undoes it.
#[test]
fn zero_points_of_version_one_carry() {
    for word in [0x0000_0000u32, 0x8888_8880, 0x0123_4567, 0xffff_ffff, 0x1000_0000] {
        assert_eq!(ZeroPoints::MinusOne.decode(word.wrapping_sub(0x1111_1111), 4), word);
        assert_eq!(ZeroPoints::MinusOne.decode(word.wrapping_sub(0x0101_0101), 8), word);
        assert_eq!(ZeroPoints::AsStored.decode(word, 4), word);
        assert_eq!(ZeroPoints::AsStored.decode(word, 8), word);
    }
    assert_eq!(ZeroPoints::MinusOne.decode(0x7777_7777, 4), 0x8888_8888);
    assert_eq!(ZeroPoints::MinusOne.decode(0x7f7f_7f7f, 8), 0x8080_8080);
}
