//! Shards of dense matrices: what is cut from the whole is what the cut bytes of the file make.

use lapidary::quant::{DenseMatrix, Matrix, StoredGroups};
use proptest::prelude::*;

use super::plain::{number, numbers};
use crate::common::random::Random;
use crate::{check, cuts, dtypes, pieces};

#[test]
fn dense() {
    let cases = (1..=40usize, 1..=200usize, dtypes(), any::<u64>(), cuts(), cuts());
    check("dense", cases, |(n, k, dtype, seed, columns, rows)| {
        let values = numbers(&mut Random::new(seed), dtype, n * k);
        let size = dtype.size_bytes();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect();
        let whole = DenseMatrix::from_bytes(n, k, dtype, &bytes).expect("a matrix");
        let mut row = vec![0.0; k];
        for (n, values) in values.chunks_exact(k).enumerate() {
            whole.row(n, &mut row).expect("a row");
            for (value, &bits) in row.iter().zip(values) {
                prop_assert_eq!(value.to_bits(), number(dtype, bits).to_bits());
            }
        }
        let matrix = Matrix::Dense(whole.clone());
        let mut joined = Vec::new();
        for piece in pieces(n, &columns) {
            let shard = whole.column_shard(piece.clone()).expect("a part");
            let part = &bytes[piece.start * k * size..piece.end * k * size];
            prop_assert_eq!(&shard, &DenseMatrix::from_bytes(piece.len(), k, dtype, part).expect("a matrix"));
            joined.extend_from_slice(&shard.words);
            prop_assert_eq!(matrix.column_shard(piece).expect("a part"), Matrix::Dense(shard));
        }
        prop_assert_eq!(joined, whole.words.clone());
        for piece in pieces(k, &rows) {
            let shard = whole.row_shard(piece.clone()).expect("a part");
            let lines = bytes.chunks_exact(k * size);
            let part: Vec<u8> = lines.flat_map(|line| line[piece.start * size..piece.end * size].to_vec()).collect();
            prop_assert_eq!(&shard, &DenseMatrix::from_bytes(n, piece.len(), dtype, &part).expect("a matrix"));
            prop_assert_eq!(matrix.row_shard(piece, StoredGroups::Touched).expect("a part"), Matrix::Dense(shard));
        }
        Ok(())
    });
}
