//! Matrices read as f32. Their fields are public, so each is checked before.

use super::matrix::{DenseMatrix, Groups, Matrix, PackedMatrix};
use super::shape::UNNAMED;
use crate::error::Usage;
use crate::{Error, Result};

impl DenseMatrix {
    /// Row `n` as f32, into the first `in_features` values of `out`.
    ///
    /// # Errors
    /// As [`Matrix::row`].
    pub fn row(&self, n: usize, out: &mut [f32]) -> Result<()> {
        self.check_readable(0)?;
        check_row(n, [self.out_features, self.in_features], out)?;
        self.read_row(n, out);
        Ok(())
    }
}

impl<G: Groups> PackedMatrix<G> {
    /// Row `n` as f32, into the first `in_features` values of `out`: one rounding a value, as in the kernels.
    ///
    /// # Errors
    /// As [`Matrix::row`].
    pub fn row(&self, n: usize, out: &mut [f32]) -> Result<()> {
        self.check_readable(0)?;
        check_row(n, [self.out_features, self.in_features], out)?;
        self.read_row(n, out);
        Ok(())
    }
}

impl Matrix {
    /// Row `n` as f32, into the first `in_features` values of `out`.
    ///
    /// # Errors
    /// [`Usage::Range`] where there is no such row; [`Usage::Shape`] where `out` is too short, or the matrix's arrays are not
    /// what its format and its size say.
    pub fn row(&self, n: usize, out: &mut [f32]) -> Result<()> {
        match self {
            Matrix::Dense(m) => m.row(n, out),
            Matrix::Packed(m) => m.row(n, out),
            Matrix::RowShard(m) => m.row(n, out),
        }
    }

    /// The whole matrix as dense f32: what a router becomes on load.
    ///
    /// # Errors
    /// [`Usage::Shape`] where the matrix's arrays are not what its format and its size say.
    pub fn to_dense(&self) -> Result<DenseMatrix> {
        match self {
            Matrix::Dense(m) => m.check_readable(0)?,
            Matrix::Packed(m) => m.check_readable(0)?,
            Matrix::RowShard(m) => m.check_readable(0)?,
        }
        let mut values = vec![0.0; self.out_features() * self.in_features()];
        for (n, row) in values.chunks_exact_mut(self.in_features()).enumerate() {
            self.read_row(n, row);
        }
        DenseMatrix::from_f32(self.out_features(), self.in_features(), &values)
    }
}

/// Ok where a matrix of `[out_features, in_features]` has a row `n`, for which `out` has room.
fn check_row(n: usize, shape: [usize; 2], out: &[f32]) -> Result<()> {
    let [out_features, in_features] = shape;
    if n >= out_features {
        let (name, asked) = (UNNAMED.to_owned(), n..n.saturating_add(1));
        return Err(Usage::Range { name, what: "rows", asked, found: out_features }.into());
    }
    let (is_long, room) = (out.len() >= in_features, out.len());
    Error::check_shape(UNNAMED, "room for a row", is_long, &room, &format_args!("at least {in_features}"))
}
