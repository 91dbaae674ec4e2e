//! `embed.wgsl`: y[t] = table[token(t)] * scale, from a table in one part or in several.

use lapidary::gpu::Tensor;
use lapidary::kernels::{WeightsBuilder, embed};
use lapidary::quant::Matrix;

use crate::common::matrices::{DTYPES, dense};
use crate::common::random::Random;
use crate::common::tolerance::assert_close;
use crate::common::{Output, Runner, gpu, rows_tensor, step_rows};

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
        let planned =
            embed::plan(&runner.planner, "embed", &weights, (first, true), &rows, &y.tensor, 3.0).expect("a plan");
        let actual = runner.run(&planned, tokens.len(), &[&y]).remove(0);
        let mut row = vec![0.0; width];
        let expected = tokens.iter().flat_map(|&t| match (t as usize).checked_sub(first).filter(|&t| t < 130) {
            None => vec![0.0; width],
            Some(t) => {
                table.row(t, &mut row);
                row.iter().map(|v| v * 3.0).collect()
            }
        });
        assert_close(&format!("parts of {part_rows}"), &expected.collect::<Vec<_>>(), &actual, |_| 0.0);
    }
}

pub(super) fn check(widths: &[usize]) {
    let mut random = Random::new(600);
    for &width in widths {
        for dtype in DTYPES {
            let n_tokens = 200;
            let table = Matrix::Dense(dense(&mut random, n_tokens, width, dtype));
            let row_bytes = dtype.size_bytes() * width.next_multiple_of(32);
            // First and last of each part, repeated ones, and random ones.
            let mut tokens = vec![0, 63, 64, 127, 128, 191, 192, 199, 64, 64];
            tokens.extend((0..20).map(|_| random.below(n_tokens) as u32));
            let rows: Vec<_> = tokens.iter().enumerate().map(|(i, &t)| (i as u32 / 7, i as u32 % 7, t)).collect();
            let rows: Tensor = rows_tensor(&step_rows(&rows));
            for part_rows in [200, 64] {
                let mut builder = WeightsBuilder::new(gpu(), "table", 1, n_tokens, width)
                    .max_part_bytes((part_rows * row_bytes) as u64);
                builder.add(0, 0, &table).expect("memory");
                let weights = builder.finish().expect("a device");
                let y = Output::new(tokens.len(), width);
                let (runner, scale) = (Runner::new(), (width as f32).sqrt());
                let planned = embed::plan(&runner.planner, "embed", &weights, (0, false), &rows, &y.tensor, scale)
                    .expect("a plan");
                assert_eq!(planned.len(), n_tokens.div_ceil(part_rows), "parts");
                let actual = runner.run(&planned, tokens.len(), &[&y]).remove(0);
                let mut row = vec![0.0; width];
                let expected: Vec<f32> = tokens
                    .iter()
                    .flat_map(|&t| {
                        table.row(t as usize, &mut row);
                        row.iter().map(|v| v * scale).collect::<Vec<_>>()
                    })
                    .collect();
                // One product: exact.
                assert_close(&format!("{dtype:?} width {width}"), &expected, &actual, |_| 0.0);
            }
        }
    }
}
