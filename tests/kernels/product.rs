//! `matvec.wgsl` and `matmul.wgsl`: y = x w^T with dense and packed weights, whole, in parts and as shards.

use lapidary::gpu::Kind;
use lapidary::quant::{Dtype, Matrix};
use lapidary::testing::kernels::product::{self, Product, Rows};
use lapidary::testing::kernels::{Tuning, Weights, WeightsBuilder};
use lapidary::testing::reference::ops;
pub(super) use lapidary::testing::twins::of_products as tolerances;

use crate::common::matrices::{DTYPES, Order, Scales, Spec, Unpacked, dense};
use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, MAX_NMSE, assert_close, nmse};
use crate::common::{Output, Runner, compact, gpu, is_untouched, tensor};

/// The shaders of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Path {
    Matvec,
    /// As GPUs run it, through workgroup memory.
    Matmul,
    /// As GPUs run it where output features are few: shares of the input features are added up apart.
    Shares,
    /// As GPUs run it that have few registers, and those that have half of NVIDIA's.
    Small,
    Half,
    /// As software adapters run it.
    Direct,
}

impl Path {
    fn without_shares(kind: Kind) -> Runner {
        let mut tuning = Tuning::of(kind);
        tuning.tiles.workgroups = 1;
        Runner::with_tiles(tuning)
    }

    /// The runner itself, or one with the path's tiles.
    pub(super) fn tiles(self) -> Option<Runner> {
        match self {
            Path::Matvec => None,
            Path::Matmul => Some(Path::without_shares(Kind::Nvidia)),
            Path::Small => Some(Path::without_shares(Kind::Unknown)),
            Path::Half => Some(Path::without_shares(Kind::Rdna)),
            Path::Shares => Some(Runner::with_tiles(Tuning::of(Kind::Nvidia))),
            Path::Direct => Some(Runner::with_tiles(Tuning::of(Kind::Cpu))),
        }
    }
}

pub(super) fn upload(matrix: &Matrix) -> Weights {
    Weights::upload(gpu(), "weight", matrix).expect("memory")
}

/// The product of all rows of x on the device.
pub(super) fn product(runner: &Runner, path: Path, weights: &Weights, x: &[f32], softcap: f32) -> Vec<f32> {
    let n_rows = x.len() / weights.in_features;
    let count = compact(1, &[n_rows as u32]);
    let rows = match path {
        Path::Matvec => Rows::Few,
        Path::Matmul | Path::Shares | Path::Small | Path::Half | Path::Direct => Rows::Many(&count),
    };
    let own = path.tiles();
    let runner = own.as_ref().unwrap_or(runner);
    let x = tensor(weights.in_features, x);
    let y = Output::new(n_rows, weights.out_features);
    let planned =
        product::plan(&runner.planner, "product", &Product::new(weights, rows, &x, &y.tensor).capped(softcap))
            .expect("a plan");
    runner.run(&planned, n_rows, &[&y]).remove(0)
}

fn compare(what: &str, runner: &Runner, path: Path, weights: &Weights, matrix: &Matrix, x: &[f32]) {
    let expected = ops::matmul(x, matrix);
    let actual = product(runner, path, weights, x, 0.0);
    let tolerance = tolerances(x, matrix);
    assert_close(what, &expected, &actual, |i| tolerance[i]);
    if x.iter().any(|v| v.abs() > 1e-20) {
        let nmse = nmse(&expected, &actual);
        assert!(nmse <= MAX_NMSE, "{what}: NMSE {nmse:e}, at most {MAX_NMSE:e}");
    }
}

fn rows_of(path: Path) -> &'static [usize] {
    match path {
        Path::Matvec => &[1, 3],
        Path::Matmul | Path::Shares => &[1, 2, 63, 64, 65, 33],
        Path::Small | Path::Half => &[1, 31, 33, 65],
        Path::Direct => &[1, 7, 8, 9, 33, 4],
    }
}

#[test]
fn dense_shapes() {
    const SHAPES: [(usize, usize); 11] =
        [(1, 1), (63, 7), (65, 8), (7, 16), (64, 33), (1, 48), (65, 80), (64, 272), (17, 704), (5, 2112), (2816, 31)];
    for path in [Path::Matvec, Path::Matmul, Path::Direct] {
        let runner = Runner::new();
        for (i, (n_out, n_in)) in SHAPES.into_iter().enumerate() {
            for dtype in DTYPES {
                let mut random = Random::new(100 + i as u64);
                let matrix = Matrix::Dense(dense(&mut random, n_out, n_in, dtype));
                let weights = upload(&matrix);
                for &n_rows in rows_of(path) {
                    if n_rows > 3 && n_out > 1000 {
                        continue;
                    }
                    let x = random.values(n_rows * n_in, Spread::Outliers);
                    let what = format!("{path:?} {dtype:?} [{n_out}, {n_in}], {n_rows} rows");
                    compare(&what, &runner, path, &weights, &matrix, &x);
                }
            }
        }
    }
}

#[test]
fn dense_values_are_exact() {
    // Every finite f16 and every bf16 of ordinary size, through the identity: bit for bit.
    for dtype in [Dtype::F16, Dtype::BF16] {
        let values: Vec<u16> = match dtype {
            Dtype::F16 => (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00).collect(),
            _ => (0..=u16::MAX).filter(|bits| (1..255).contains(&(bits >> 7 & 0xff))).collect(),
        };
        let width = 32;
        let values = &values[..values.len() / width * width];
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let matrix =
            lapidary::quant::DenseMatrix::from_bytes(values.len() / width, width, dtype, &bytes).expect("a matrix");
        let matrix = Matrix::Dense(matrix);
        let weights = upload(&matrix);
        let mut identity = vec![0.0; width * width];
        (0..width).for_each(|k| identity[k * width + k] = 1.0);
        let expected = ops::matmul(&identity, &matrix);
        for path in [Path::Matvec, Path::Matmul, Path::Direct] {
            let actual = product(&Runner::new(), path, &weights, &identity, 0.0);
            assert_close(&format!("{path:?} {dtype:?}"), &expected, &actual, |_| 0.0);
        }
    }
}

/// Shapes and layouts of packed weights that hurt: input features (whole words, odd chunks, the model's), group sizes.
const PACKED: [(usize, usize, usize); 15] = [
    (1, 8, 16),
    (63, 16, 16),
    (64, 48, 32),
    (65, 80, 64),
    (65, 80, 80),
    (17, 272, 16),
    (64, 272, 128),
    (33, 704, 32),
    (8, 704, 64),
    (9, 704, 128),
    (64, 704, 704),
    (16, 2112, 128),
    (7, 2112, 2112),
    (2816, 48, 32),
    (129, 41, 16),
];

#[test]
fn packed_shapes() {
    for path in [Path::Matvec, Path::Matmul, Path::Shares, Path::Small, Path::Half, Path::Direct] {
        let runner = Runner::new();
        for (i, (n_out, n_in, group_size)) in PACKED.into_iter().enumerate() {
            let mut random = Random::new(200 + i as u64);
            for variant in 0..4 {
                let spec = Spec {
                    bits: if (i + variant) % 4 == 3 { 8 } else { 4 },
                    order: if variant % 2 == 0 { Order::Sequential } else { Order::Shuffled },
                    asymmetric: variant / 2 == 1,
                    scale_dtype: DTYPES[(i + variant) % 3],
                    scales: if variant == 0 { Scales::Ordinary } else { Scales::Edges },
                    ..Spec::new(n_out, n_in, group_size)
                };
                let matrix = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
                let weights = upload(&matrix);
                let sizes = rows_of(path);
                for (j, spread) in [Spread::Outliers, Spread::Uniform].into_iter().enumerate() {
                    let n_rows = if n_out > 1000 { 1 } else { sizes[(i + variant + j * 3) % sizes.len()] };
                    let x = random.values(n_rows * n_in, spread);
                    compare(&format!("{path:?} {spec:?}, {n_rows} rows"), &runner, path, &weights, &matrix, &x);
                }
            }
        }
    }
}

#[test]
fn lanes_do_not_matter() {
    let mut random = Random::new(1);
    let spec = Spec { asymmetric: true, ..Spec::new(131, 272, 32) };
    let matrices = [
        Matrix::Packed(Unpacked::random(&mut random, spec).pack()),
        Matrix::Dense(dense(&mut random, 131, 33, Dtype::BF16)),
    ];
    for matrix in matrices {
        let weights = upload(&matrix);
        let x = random.values(2 * matrix.in_features(), Spread::Normal);
        for lanes in [1, 2, 4, 8, 16, 32, 64] {
            compare(&format!("{lanes} lanes"), &Runner::with_lanes(lanes), Path::Matvec, &weights, &matrix, &x);
        }
    }
}

#[test]
fn inputs_of_every_kind() {
    let mut random = Random::new(2);
    let matrix = Matrix::Packed(Unpacked::random(&mut random, Spec::new(65, 704, 128)).pack());
    let weights = upload(&matrix);
    for path in [Path::Matvec, Path::Matmul, Path::Shares, Path::Small, Path::Half, Path::Direct] {
        for spread in [Spread::Uniform, Spread::Normal, Spread::Outliers, Spread::Subnormal, Spread::Zero] {
            let x = random.values(4 * 704, spread);
            compare(&format!("{path:?} {spread:?}"), &Runner::new(), path, &weights, &matrix, &x);
        }
    }
}

#[test]
fn softcap() {
    check_softcap();
}

pub(super) fn check_softcap() {
    let mut random = Random::new(3);
    let matrix = Matrix::Dense(dense(&mut random, 65, 48, Dtype::BF16));
    let weights = upload(&matrix);
    for path in [Path::Matvec, Path::Matmul, Path::Direct] {
        for cap in [1.0, 30.0] {
            let x = random.values(5 * 48, Spread::Outliers);
            let mut expected = ops::matmul(&x, &matrix);
            ops::softcap(&mut expected, Some(cap));
            let actual = product(&Runner::new(), path, &weights, &x, cap);
            // tanh grows no error; its own is a few epsilon of 1.
            let tolerance = tolerances(&x, &matrix);
            assert_close(&format!("{path:?} cap {cap}"), &expected, &actual, |i| {
                tolerance[i].min(2.0 * f64::from(cap)) + 8.0 * EPS * f64::from(cap)
            });
        }
    }
}

/// A cap makes no number of infinity: whoever chooses a token has to see it.
#[test]
fn infinite_logits_stay_no_numbers() {
    let mut random = Random::new(4);
    let matrix = Matrix::Dense(dense(&mut random, 65, 48, Dtype::BF16));
    let weights = upload(&matrix);
    // The sums of a row of weights, and what 3e38 times them is.
    let sums = ops::matmul(&[1.0; 48], &matrix);
    let overflows: Vec<usize> = (0..65).filter(|&i| sums[i].abs() > 2.0).collect();
    assert!(!overflows.is_empty());
    for path in [Path::Matvec, Path::Matmul, Path::Direct] {
        let actual = product(&Runner::new(), path, &weights, &[3e38; 5 * 48], 30.0);
        for row in actual.chunks_exact(65) {
            assert!(overflows.iter().all(|&i| row[i].is_nan()), "{path:?}: {row:?}");
        }
    }
}

/// A plan serves steps of up to a number of rows: the count, not the grid, says where a step ends.
#[test]
fn rows_beyond_the_count_are_left_alone() {
    let mut random = Random::new(8);
    let matrix = Matrix::Packed(Unpacked::random(&mut random, Spec::new(65, 48, 16)).pack());
    let weights = upload(&matrix);
    for (grid_rows, n_rows) in [(64, 1), (64, 31), (64, 33), (40, 0)] {
        let x = random.values(grid_rows * 48, Spread::Normal);
        let count = compact(1, &[n_rows as u32]);
        let tiles = if n_rows % 2 == 0 { Tuning::of(Kind::Nvidia) } else { Tuning::of(Kind::Cpu) };
        let (runner, y) = (Runner::with_tiles(tiles), Output::new(grid_rows, 65));
        let x_tensor = tensor(48, &x);
        let rows = Rows::Many(&count);
        let planned = product::plan(&runner.planner, "product", &Product::new(&weights, rows, &x_tensor, &y.tensor));
        let actual = runner.run(&planned.expect("a plan"), grid_rows, &[&y]).remove(0);
        let (x, tolerance) = (&x[..n_rows * 48], tolerances(&x[..n_rows * 48], &matrix));
        let (written, rest) = actual.split_at(n_rows * 65);
        assert_close(&format!("{n_rows} rows"), &ops::matmul(x, &matrix), written, |i| tolerance[i]);
        assert!(rest.iter().all(|&v| is_untouched(v)), "{n_rows} rows: more were written");
    }
}

/// More workgroups than a dimension holds, as with a vocabulary of 262144: the rest goes along z.
#[test]
fn more_workgroups_than_a_dimension_holds() {
    let mut random = Random::new(9);
    let limit = gpu().limits().max_compute_workgroups_per_dimension as usize;
    // A workgroup of 64 lanes holds 64 / lanes blocks of 4 output features.
    for (lanes, n_out) in [(16, 16 * limit + 5), (64, 4 * limit + 3)] {
        let matrix = Matrix::Packed(Unpacked::random(&mut random, Spec::new(n_out, 8, 16)).pack());
        let weights = upload(&matrix);
        let x = random.values(8, Spread::Normal);
        compare(&format!("{n_out} rows"), &Runner::with_lanes(lanes), Path::Matvec, &weights, &matrix, &x);
    }
}

/// A matrix in parts of 64 rows must equal the whole one bit for bit.
#[test]
fn row_parts_equal_the_whole() {
    let mut random = Random::new(4);
    let shuffled = Spec { order: Order::Shuffled, asymmetric: true, ..Spec::new(200, 80, 16) };
    let matrices = [
        Matrix::Packed(Unpacked::random(&mut random, Spec { asymmetric: true, ..Spec::new(200, 80, 16) }).pack()),
        Matrix::Packed(Unpacked::random(&mut random, shuffled).pack()),
        Matrix::Dense(dense(&mut random, 200, 80, Dtype::BF16)),
    ];
    for matrix in matrices {
        let row_bytes = match &matrix {
            Matrix::Packed(_) | Matrix::RowShard(_) => 96 / 2,
            Matrix::Dense(_) => 96 * 2,
        };
        let mut builder = WeightsBuilder::new(gpu(), "parts", 1, 200, 80).max_part_bytes(100 * row_bytes);
        builder.add(0, 0, &matrix).expect("memory");
        let parts = builder.finish().expect("a device");
        let whole = upload(&matrix);
        for path in [Path::Matvec, Path::Matmul, Path::Direct] {
            let x = random.values(3 * 80, Spread::Outliers);
            let runner = Runner::new();
            let planned = count_dispatches(&runner, &parts);
            assert_eq!(planned, 4, "parts of 64, 64, 64 and 8 rows");
            let expected = product(&runner, path, &whole, &x, 0.0);
            let actual = product(&runner, path, &parts, &x, 0.0);
            assert_close(&format!("{path:?} {:?} in parts", whole.out_features), &expected, &actual, |_| 0.0);
        }
    }
}

fn count_dispatches(runner: &Runner, weights: &Weights) -> usize {
    let x = tensor(weights.in_features, &vec![0.0; weights.in_features]);
    let y = Output::new(1, weights.out_features);
    product::plan(&runner.planner, "count", &Product::new(weights, Rows::Few, &x, &y.tensor)).expect("a plan").len()
}

/// Uploaded in row blocks that do not match the parts, some with zero points and some without.
#[test]
fn row_blocks_equal_the_whole() {
    let mut random = Random::new(5);
    for order in [Order::Sequential, Order::Shuffled] {
        let spec = Spec { order, asymmetric: true, ..Spec::new(150, 48, 16) };
        let mut whole = Unpacked::random(&mut random, spec);
        // The first 70 rows are symmetric: zeros arrive with the second block only.
        whole.zeros[..70 * 3].fill(8);
        let block = |rows: std::ops::Range<usize>, asymmetric: bool| {
            let spec = Spec { out_features: rows.len(), asymmetric, ..spec };
            let codes = whole.codes[rows.start * 48..rows.end * 48].to_vec();
            let scales = whole.scales[rows.start * 3..rows.end * 3].to_vec();
            let zeros = whole.zeros[rows.start * 3..rows.end * 3].to_vec();
            Matrix::Packed(Unpacked { spec, codes, scales, zeros, ..whole.clone() }.pack())
        };
        let mut builder = WeightsBuilder::new(gpu(), "blocks", 1, 150, 48).max_part_bytes(64 * 32);
        builder.add(0, 0, &block(0..70, false)).expect("memory");
        builder.add(0, 70, &block(70..150, true)).expect("memory");
        let weights = builder.finish().expect("a device");
        let matrix = Matrix::Packed(whole.pack());
        for path in [Path::Matvec, Path::Matmul, Path::Direct] {
            let x = random.values(2 * 48, Spread::Normal);
            compare(&format!("{path:?} {order:?} by blocks"), &Runner::new(), path, &weights, &matrix, &x);
        }
    }
}

/// Row-parallel shards, aligned or crossing groups, add up to the whole.
#[test]
fn sharded_sum_is_the_full_product() {
    let mut random = Random::new(6);
    for (n_in, group_size, order) in [
        (704, 128, Order::Sequential),
        (704, 32, Order::Shuffled),
        (2112, 64, Order::Sequential),
        (272, 16, Order::Sequential),
        (80, 80, Order::Sequential),
    ] {
        let spec = Spec { order, asymmetric: true, ..Spec::new(33, n_in, group_size) };
        let full = Unpacked::random(&mut random, spec);
        let whole = Matrix::Packed(full.pack());
        let x = random.values(2 * n_in, Spread::Outliers);
        let expected = ops::matmul(&x, &whole);
        let tolerance = tolerances(&x, &whole);
        for n_shards in [2, 3, 4, 7, 8] {
            let mut sums = vec![0.0f64; expected.len()];
            for rank in 0..n_shards {
                let rows = rank * n_in / n_shards..(rank + 1) * n_in / n_shards;
                let weights = upload(&Matrix::RowShard(full.shard(rows.clone())));
                let part: Vec<f32> = x.chunks_exact(n_in).flat_map(|x| x[rows.clone()].to_vec()).collect();
                let path = if rank % 2 == 0 { Path::Matvec } else { Path::Matmul };
                for (sum, y) in sums.iter_mut().zip(product(&Runner::new(), path, &weights, &part, 0.0)) {
                    *sum += f64::from(y);
                }
            }
            let sums: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
            assert_close(&format!("{n_shards} shards of {spec:?}"), &expected, &sums, |i| tolerance[i]);
            assert!(nmse(&expected, &sums) <= MAX_NMSE, "{n_shards} shards of {spec:?}");
        }
    }
}

/// A g_idx table that says what the sequential index says gives the same: bit for bit where both scale each weight, and but
/// for rounding where a run of weights is scaled together.
#[test]
fn table_path_equals_sequential_path() {
    let mut random = Random::new(7);
    for rows in [0..704, 88..176, 235..470] {
        let mut full = Unpacked::random(&mut random, Spec { asymmetric: true, ..Spec::new(65, 704, 128) });
        let sequential = upload(&Matrix::RowShard(full.shard(rows.clone())));
        full.spec.order = Order::Shuffled;
        let table = upload(&Matrix::RowShard(full.shard(rows.clone())));
        let x = random.values(3 * rows.len(), Spread::Outliers);
        for path in [Path::Matvec, Path::Matmul, Path::Direct] {
            let expected = product(&Runner::new(), path, &sequential, &x, 0.0);
            let actual = product(&Runner::new(), path, &table, &x, 0.0);
            let shard = Matrix::RowShard(full.shard(rows.clone()));
            let tolerance = if path == Path::Matvec { tolerances(&x, &shard) } else { vec![0.0; expected.len()] };
            assert_close(&format!("{path:?} {rows:?}"), &expected, &actual, |i| tolerance[i]);
        }
    }
}
