//! Zero points against what the configuration claims of them. `sym: true` says that all are `2^(bits - 1)`, and how they are
//! stored is a convention of two that files get wrong: where every matrix that makes the claim fits the other one, that is
//! taken, with a note. Anything else contradicts the claim, be it one zero point of one matrix.

use super::config::Packing;
use super::load::layout;
use super::matrix_info::{MatrixInfo, Storage};
use super::{Checkpoint, Content};
use crate::quant::gptq::{self, Layout, OddZero, ZeroPoints};
use crate::quant::{awq, compressed_tensors};
use crate::{Faults, Result, threads};

/// What the zero points of a matrix are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Zeros {
    /// Number of the tensor.
    tensor: usize,
    /// Of a stack of matrices in one tensor.
    matrix: Option<usize>,
    bits: u32,
    /// Whether the configuration says that all are `2^(bits - 1)`.
    claimed: bool,
    /// The first that is not, as the configuration says that they are stored.
    odd: Option<OddZero>,
    /// The first that is not if they are stored in the other way; `None` where there is no other.
    odd_otherwise: Option<Option<OddZero>>,
}

impl Zeros {
    /// Whether any is not `2^(bits - 1)`, by the convention of the file.
    pub(super) fn is_asymmetric(&self, otherwise: bool) -> bool {
        match (otherwise, self.odd_otherwise) {
            (true, Some(odd)) => odd.is_some(),
            _ => self.odd.is_some(),
        }
    }

    fn fits_otherwise(&self) -> bool {
        self.odd_otherwise == Some(None)
    }
}

impl Checkpoint {
    /// Those of the matrix of `info`; `None` where it has no zero points.
    pub(super) fn zeros(&self, info: &MatrixInfo) -> Result<Option<Zeros>> {
        match info.storage {
            Storage::Packed { qzeros, packing, claims_symmetric, .. } => {
                let (layout, mut words) = (layout(info), self.index.read_words(qzeros)?);
                let mut zeros = Zeros {
                    tensor: qzeros,
                    matrix: None,
                    bits: layout.bits,
                    claimed: claims_symmetric,
                    odd: None,
                    odd_otherwise: None,
                };
                match packing {
                    Packing::Gptq(stored) => {
                        let find = |zero_points| gptq::find_odd_zero(&Layout { zero_points, ..layout }, &words);
                        zeros.odd = find(stored);
                        zeros.odd_otherwise = Some(find(stored.other()));
                    }
                    _ => {
                        // Where all are equal their order does not matter.
                        if gptq::find_odd_zero(&layout, &words).is_some() {
                            words = awq::repack_zeros(&words);
                            zeros.odd = gptq::find_odd_zero(&layout, &words);
                        }
                    }
                }
                Ok(Some(zeros))
            }
            Storage::Compressed { zero_points: Some(id), slice, claims_symmetric, .. } => {
                let layout = Layout { out_features: slice.n_rows, ..layout(info) };
                let words = self.read_zero_points(id, &layout, slice)?;
                Ok(Some(Zeros {
                    tensor: id,
                    matrix: Some(slice.matrix).filter(|_| slice.n_matrices > 1),
                    bits: layout.bits,
                    claimed: claims_symmetric,
                    odd: compressed_tensors::find_odd_zero(&layout, &words),
                    odd_otherwise: None,
                }))
            }
            _ => Ok(None),
        }
    }

    /// Whether any zero point of the whole matrix is not `2^(bits - 1)`.
    pub(super) fn is_asymmetric(&self, info: &MatrixInfo) -> Result<bool> {
        let Some(zeros) = self.zeros(info)? else { return Ok(false) };
        let otherwise = match info.storage {
            Storage::Packed { packing: Packing::Gptq(stored), .. } => self.stored_zeros(stored)? != stored,
            _ => {
                let mut faults = Faults::default();
                self.settle(&[zeros], &mut faults);
                faults.into_result(false)?
            }
        };
        Ok(zeros.is_asymmetric(otherwise))
    }

    /// How `qzeros` are stored, which the configuration says to be as `said`. Whoever asks before [`Self::contents`] was
    /// called waits until those of every matrix that claims symmetry are read.
    pub(super) fn stored_zeros(&self, said: ZeroPoints) -> Result<ZeroPoints> {
        if let Some(otherwise) = self.otherwise.get() {
            return Ok(if *otherwise { said.other() } else { said });
        }
        let claims = |info: &&MatrixInfo| matches!(info.storage, Storage::Packed { claims_symmetric: true, .. });
        let mut named: Vec<(&String, &MatrixInfo)> = self.resolved.matrices.iter().collect();
        named.sort_unstable_by_key(|(name, _)| *name);
        let all = named.into_iter().map(|(_, info)| info).chain(&self.resolved.experts);
        let claiming: Vec<&MatrixInfo> = all.filter(claims).collect();
        let found =
            threads::map_in_order(&claiming, threads::available(), || (), |(): &mut (), info| self.zeros(info))?;
        let found: Vec<Zeros> = found.into_iter().flatten().collect();
        let mut faults = Faults::default();
        let otherwise = self.settle(&found, &mut faults);
        faults.into_result(if otherwise { said.other() } else { said })
    }

    /// Whether zero points are stored in the other way than the configuration says, by those of `all` matrices that claim
    /// symmetry; what fits neither way is a fault.
    pub(super) fn settle(&self, all: &[Zeros], faults: &mut Faults) -> bool {
        let claims: Vec<&Zeros> = all.iter().filter(|zeros| zeros.claimed).collect();
        let fitting = claims.iter().filter(|zeros| zeros.odd.is_none()).count();
        let otherwise = claims.iter().filter(|zeros| zeros.fits_otherwise()).count();
        let is_other = fitting < claims.len() && otherwise == claims.len();
        if fitting < claims.len() && !is_other {
            faults.push(self.contradiction(&claims, fitting, otherwise));
            return false;
        }
        // Only the first to find out says so.
        if self.otherwise.set(is_other).is_ok() {
            self.note(&claims, is_other);
        }
        is_other
    }

    fn note(&self, claims: &[&Zeros], is_other: bool) {
        let (Some(first), Some(config)) = (claims.first(), &self.config.quantization) else { return };
        let (source, claim) = (self.source.describe(), config.sym_claim_text());
        let (name, value) = (&self.index.tensors[first.tensor].name, 1 << (first.bits - 1));
        match config.packing {
            Packing::Gptq(stored) if is_other => {
                let (said, found) = (stored.describe(), stored.other().describe());
                let key = config.key(&config.format);
                log::warn!(
                    "{source}: {key} says that zero points are stored {said}, but where {claim} all are {value} if \
                     stored {found}, which is taken (tensor {name:?} and all others)"
                );
            }
            Packing::Compressed => {
                log::warn!(
                    "{source}: {claim}, and still tensor {name:?} is there; all zero points are {value}, so both agree"
                );
            }
            _ => {}
        }
    }

    /// What is wrong with `claims`, of which so many are `fitting`, and so many if they are stored otherwise.
    fn contradiction(&self, claims: &[&Zeros], fitting: usize, otherwise: usize) -> String {
        let Some(config) = &self.config.quantization else { unreachable!("a claim comes from a configuration") };
        let most_are_other = otherwise > fitting;
        let odd_of = |zeros: &Zeros| if most_are_other { zeros.odd_otherwise.flatten() } else { zeros.odd };
        let wrong: Vec<&&Zeros> = claims.iter().filter(|zeros| odd_of(zeros).is_some()).collect();
        let first = wrong.first().expect("a claim that does not fit was counted");
        let odd = odd_of(first).expect("it was filtered by this");
        let name = &self.index.tensors[first.tensor].name;
        let matrix = first.matrix.map_or(String::new(), |matrix| format!("matrix {matrix}, "));
        let mut text = format!(
            "tensor {name:?}: zero point of {matrix}group {}, row {} is {}, expected {} because {}",
            odd.group,
            odd.row,
            odd.value,
            1 << (first.bits - 1),
            config.sym_claim_text()
        );
        if let (Packing::Gptq(stored), true) = (config.packing, otherwise > 0) {
            let fits = claims.iter().find(|zeros| zeros.fits_otherwise()).expect("it was counted");
            let (other, name) = (stored.other().describe(), &self.index.tensors[fits.tensor].name);
            text += &format!("; {otherwise} of {} matrices fit if stored {other}, such as {name:?}", claims.len());
        }
        match wrong.len() {
            1 => text,
            count => format!("{text} (the first of {count} such matrices)"),
        }
    }
}

/// The content of a matrix by its zero points.
pub(super) fn content(zeros: Option<Zeros>, reordered: bool, otherwise: bool) -> Content {
    Content { asymmetric: zeros.is_some_and(|zeros| zeros.is_asymmetric(otherwise)), reordered }
}
