//! `embed.wgsl`: y[t] = table[token(t)] * scale, from a dense or quantized table in one part or in several.

use lapidary::quant::{DenseMatrix, Dtype, Matrix};
use lapidary::testing::gpu::Tensor;
use lapidary::testing::kernels::rows::embed;
use lapidary::testing::kernels::rows::embed::Embed;
use lapidary::testing::kernels::{StepRow, WeightsBuilder};
use lapidary::testing::quant::requantize::{GROUP_SIZE, Requantized, requantize};
use lapidary::testing::reference::ops;

use crate::common::matrices::{DTYPES, Order, Scales, Spec, Unpacked, dense, file_bytes};
use crate::common::random::Random;
use crate::common::tolerance::assert_close;
use crate::common::{Output, Runner, compact, gpu, rows_tensor, step_rows};

const N_TOKENS: usize = 200;

#[test]
fn rows_of_the_table() {
    check(&[1, 7, 8, 33, 64, 513]);
}

/// A rank's part of the vocabulary: its tokens' rows, and zeros for all others, also where the table has several parts.
#[test]
fn a_part_of_the_vocabulary() {
    let (mut random, width, first) = (Random::new(601), 33, 100);
    let table = Matrix::Dense(dense(&mut random, 130, width, lapidary::quant::Dtype::BF16));
    let tokens = [0, 99, 100, 101, 163, 164, 227, 228, 229, 230, 4000];
    let rows: Vec<_> = tokens.iter().enumerate().map(|(i, &t)| (0, i as u32, t)).collect();
    let rows: Tensor = rows_tensor(&step_rows(&rows));
    for part_rows in [130, 64] {
        let bytes = (part_rows * 2 * width.next_multiple_of(32)) as u64;
        let mut builder = WeightsBuilder::new(gpu(), "table", 1, 130, width).max_part_bytes(bytes);
        builder.add(0, 0, &table).expect("memory");
        let (weights, y, runner) =
            (builder.finish().expect("a device"), Output::new(tokens.len(), width), Runner::new());
        let planned = embed::plan(
            &runner.planner,
            "embed",
            &Embed {
                table: &weights,
                first_token: first,
                partial: true,
                rows: &rows,
                ids: &rows,
                y: &y.tensor,
                scale: 3.0,
            },
        )
        .expect("a plan");
        let actual = runner.run(&planned, tokens.len(), &[&y]).remove(0);
        let expected = tokens.iter().flat_map(|&t| ops::embed(&table, first as u32, t, 3.0));
        assert_close(&format!("parts of {part_rows}"), &expected.collect::<Vec<_>>(), &actual, |_| 0.0);
    }
}

pub(super) fn check(widths: &[usize]) {
    let mut random = Random::new(600);
    for &width in widths {
        for dtype in DTYPES {
            let table = Matrix::Dense(dense(&mut random, N_TOKENS, width, dtype));
            let row_bytes = dtype.size_bytes() * width.next_multiple_of(32);
            check_table(&mut random, &format!("{dtype:?} width {width}"), &table, row_bytes);
        }
    }
}

#[test]
fn rows_of_a_packed_table() {
    check_packed(&[(1, 32), (31, 32), (33, 32), (80, 16), (264, 24), (704, 32), (704, 128)]);
}

/// Of each (width, group size): 4 and 8 bits, symmetric and not, in order and act-order.
pub(super) fn check_packed(shapes: &[(usize, usize)]) {
    let mut random = Random::new(601);
    for (i, &(width, group_size)) in shapes.iter().enumerate() {
        for variant in 0..8 {
            let spec = Spec {
                bits: if variant % 2 == 0 { 4 } else { 8 },
                asymmetric: variant / 2 % 2 == 1,
                order: if variant / 4 == 0 { Order::Sequential } else { Order::Shuffled },
                scale_dtype: DTYPES[(i + variant) % 3],
                scales: Scales::Edges,
                ..Spec::new(N_TOKENS, width, group_size)
            };
            let table = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
            check_table(&mut random, &format!("{spec:?}"), &table, packed_row_bytes(width, spec.bits));
        }
    }
}

#[test]
fn rows_of_a_requantized_table() {
    let mut random = Random::new(602);
    for bits in [4, 8] {
        let values: Vec<f32> = (0..N_TOKENS * 272).map(|_| 0.02 * random.normal()).collect();
        let bytes = file_bytes(Dtype::BF16, &values);
        let table = DenseMatrix::from_bytes(N_TOKENS, 272, Dtype::BF16, &bytes).expect("a matrix");
        let Requantized { packed: table, .. } =
            requantize("table", 0, &table, bits, GROUP_SIZE).expect("finite values");
        check_table(&mut random, &format!("{bits} bits"), &Matrix::Packed(table), packed_row_bytes(272, bits));
    }
}

fn packed_row_bytes(width: usize, bits: u32) -> usize {
    width.next_multiple_of(32) * bits as usize / 8
}

/// Looks tokens up in `table`, whole and in parts of 64 rows.
fn check_table(random: &mut Random, what: &str, table: &Matrix, row_bytes: usize) {
    let width = table.in_features();
    // First and last of each part, repeated ones, and random ones.
    let mut tokens = vec![0, 63, 64, 127, 128, 191, 192, 199, 64, 64];
    tokens.extend((0..20).map(|_| random.below(N_TOKENS) as u32));
    // Every third token is not known to the host: an id of the step before, whose rows stood the other way round.
    let ids: Tensor = compact(1, &tokens.iter().rev().copied().collect::<Vec<u32>>());
    let id_of = |i: usize| StepRow::ID_OF | (tokens.len() - 1 - i) as u32;
    let word = |(i, &token): (usize, &u32)| if i % 3 == 2 { id_of(i) } else { token };
    let words = tokens.iter().enumerate().map(word);
    let rows: Vec<_> = words.enumerate().map(|(i, word)| (i as u32 / 7, i as u32 % 7, word)).collect();
    let rows: Tensor = rows_tensor(&step_rows(&rows));
    for part_rows in [200, 64] {
        let part_bytes = (part_rows * row_bytes) as u64;
        let mut builder = WeightsBuilder::new(gpu(), "table", 1, N_TOKENS, width).max_part_bytes(part_bytes);
        builder.add(0, 0, table).expect("memory");
        let weights = builder.finish().expect("a device");
        let y = Output::new(tokens.len(), width);
        let (runner, scale) = (Runner::new(), (width as f32).sqrt());
        let planned = embed::plan(
            &runner.planner,
            "embed",
            &Embed { table: &weights, first_token: 0, partial: false, rows: &rows, ids: &ids, y: &y.tensor, scale },
        )
        .expect("a plan");
        assert_eq!(planned.len(), N_TOKENS.div_ceil(part_rows), "parts");
        let actual = runner.run(&planned, tokens.len(), &[&y]).remove(0);
        let expected: Vec<f32> = tokens.iter().flat_map(|&t| ops::embed(table, 0, t, scale)).collect();
        // A product for the weight's value, one for the scale: exact.
        assert_close(what, &expected, &actual, |_| 0.0);
    }
}
