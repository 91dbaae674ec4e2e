//! Do the probes see bugs? Each bug of a list is planted in the shader's text and must make them fail.

use super::probes::{interesting, probe, probe_experts};
use super::product::Path;
use crate::common::matrices::{Order, Scales, Spec, Unpacked};
use crate::common::random::Random;
use crate::common::{Bug, Runner};

/// Bugs of the packed weights, in both product shaders.
const PACKED: [Bug; 9] = [
    Bug { name: "zero point off by one", from: "return 8.0;", to: "return 7.0;" },
    Bug {
        name: "stored zero point off by one",
        from: "& 15u);\n    }\n    return 8.0",
        to: "& 15u) + 1.0;\n    }\n    return 8.0",
    },
    Bug {
        name: "local instead of global group",
        from: "(params.first_row + k) / GROUP_SIZE - params.first_group",
        to: "k / GROUP_SIZE",
    },
    Bug { name: "nibble order swapped", from: "vec4(0u, 4u, 8u, 12u)", to: "vec4(4u, 0u, 12u, 8u)" },
    Bug { name: "group of k + 8", from: "let group = group_of(row, k);", to: "let group = group_of(row, k + 8u);" },
    Bug { name: "group of a word's first code", from: "if group == group_of(row, k + 7u)", to: "if true" },
    Bug { name: "half halves swapped", from: "(16u * (group % 2u))", to: "(16u * (1u - group % 2u))" },
    Bug { name: "subnormal scales flushed", from: "f32(magnitude) * 5.9604644775390625e-8", to: "0.0" },
    Bug { name: "zero word of eight groups lost", from: "+ group / 8u]", to: "]" },
];

/// Bugs of the matrix-vector product.
const MATVEC: [Bug; 2] = [
    Bug {
        name: "last word missing",
        from: "word < params.in_words; word += LANES",
        to: "word + 4u < params.in_words; word += LANES",
    },
    Bug { name: "last feature missing", from: "if n < params.n_rows {", to: "if n + 1u < params.n_rows {" },
];

/// Bugs of the matrix product.
const MATMUL: [Bug; 2] = [
    Bug {
        name: "last chunk missing",
        from: "word < params.in_words; word += 4u",
        to: "word + 4u < params.in_words; word += 4u",
    },
    Bug {
        name: "a tile row too far",
        from: "let x1 = tile_x[(lane_t + 16u) * ROW + k];",
        to: "let x1 = tile_x[(lane_t + 15u) * ROW + k];",
    },
];

/// Bugs that only experts show.
const EXPERTS: [Bug; 2] = [
    Bug { name: "expert off by one", from: "ids[p] - params.first_matrix;", to: "(ids[p] + 1u) % 3u;" },
    Bug { name: "every expert with the first table", from: "(row / params.rows_per_matrix)", to: "(row / 1000000u)" },
];

/// The matrices of the probes: symmetric and not, f16 scales with edge values, shards that start inside a group.
fn cases() -> Vec<Spec> {
    let spec = Spec::new(5, 704, 128);
    let fine = Spec { scales: Scales::Edges, asymmetric: true, ..Spec::new(5, 272, 16) };
    vec![spec, fine, Spec { order: Order::Shuffled, ..fine }]
}

/// What the probes of a linear layer and of experts say with `bug` planted.
fn probes(bug: Option<Bug>, paths: &[Path], with_experts: bool) -> Vec<Result<(), String>> {
    let runner = Runner::with_bug(bug);
    let mut results = Vec::new();
    for (i, spec) in cases().into_iter().enumerate() {
        let mut random = Random::new(500 + i as u64);
        let stack: Vec<_> = (0..3).map(|_| Unpacked::random(&mut random, spec)).collect();
        let n_in = spec.in_features;
        for rows in [0..n_in, n_in / 8 + 3..n_in / 2] {
            let ks = interesting(&mut random, &stack[0], &rows);
            for &path in paths {
                results.push(probe(&runner, path, &stack[0], rows.clone(), &ks));
            }
            if with_experts {
                results.push(probe_experts(&runner, &stack, rows.clone(), &ks));
            }
        }
    }
    results
}

fn is_caught(bug: Bug, paths: &[Path], with_experts: bool) {
    let results = probes(Some(bug), paths, with_experts);
    assert!(results.iter().any(Result::is_err), "planted \"{}\": no probe of {paths:?} saw it", bug.name);
}

#[test]
fn probes_pass_without_a_bug() {
    for result in probes(None, &[Path::Matvec, Path::Matmul], true) {
        result.unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn bugs_of_packed_weights_are_caught() {
    for bug in PACKED {
        is_caught(bug, &[Path::Matvec], false);
        is_caught(bug, &[Path::Matmul], false);
        is_caught(bug, &[], true);
    }
}

#[test]
fn bugs_of_the_products_are_caught() {
    for bug in MATVEC {
        is_caught(bug, &[Path::Matvec], false);
    }
    for bug in MATMUL {
        is_caught(bug, &[Path::Matmul], false);
    }
    for bug in EXPERTS {
        is_caught(bug, &[], true);
    }
}
