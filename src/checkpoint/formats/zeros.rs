//! Zero points against what the configuration claims of them. `sym: true` says that all are `2^(bits - 1)`, and how they are
//! stored is a convention of two that files get wrong: where every matrix that makes the claim fits the other one, and no
//! other matrix tells against it, that is taken, with a note. Anything else contradicts the claim, be it one zero point of one
//! matrix. A file that says nothing of `sym` means the same if its zero points do.

use super::matrix_info::MatrixInfo;
use super::numbers::{AwqNumbers, CompressedNumbers, GptqNumbers, Numbers};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::claimed::{Claim, Reader};
use crate::error::{Fault, Others};
use crate::quant::gptq::{self, OddZero, ZeroPoints};
use crate::quant::{awq, compressed_tensors};
use crate::{Faults, Result, threads};

/// What the zero points of a matrix are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zeros {
    /// Number of the tensor.
    tensor: usize,
    /// Of a stack of matrices in one tensor.
    matrix: Option<usize>,
    bits: u32,
    claim: Claim,
    /// The first that is not, as the configuration says that they are stored.
    odd: Option<OddZero>,
    /// The first that is not if they are stored in the other way; `None` where there is no other.
    odd_otherwise: Option<Option<OddZero>>,
}

impl Zeros {
    /// Whether any is not `2^(bits - 1)`, by the convention of the file.
    pub(crate) fn is_asymmetric(&self, otherwise: bool) -> bool {
        match (otherwise, self.odd_otherwise) {
            (true, Some(odd)) => odd.is_some(),
            _ => self.odd.is_some(),
        }
    }

    fn fits_otherwise(&self) -> bool {
        self.odd_otherwise == Some(None)
    }

    /// Whether all are `2^(bits - 1)` as the configuration says that they are stored, and not if they are stored otherwise.
    fn tells_against_other(&self) -> bool {
        self.odd.is_none() && matches!(self.odd_otherwise, Some(Some(_)))
    }
}

impl Checkpoint {
    /// Those of the matrix of `info`; `None` where it has no zero points.
    pub(crate) fn zeros(&self, info: &MatrixInfo) -> Result<Option<Zeros>> {
        match info.numbers {
            Numbers::Dense(_) | Numbers::Compressed(CompressedNumbers { zero_points: None, .. }) => Ok(None),
            Numbers::Gptq(GptqNumbers { qzeros, zero_points, claim, .. }) => {
                let (bits, words) = (info.grouped().bits, self.index.read_words(qzeros)?);
                let find = |zero_points| gptq::find_odd_zero(bits, zero_points, info.out_features, &words);
                let (odd, odd_otherwise) = (find(zero_points), Some(find(zero_points.other())));
                Ok(Some(Zeros { tensor: qzeros, matrix: None, bits, claim, odd, odd_otherwise }))
            }
            Numbers::Awq(AwqNumbers { qzeros, claim, .. }) => {
                let (bits, words) = (info.grouped().bits, self.index.read_words(qzeros)?);
                let find = |words: &[u32]| gptq::find_odd_zero(bits, ZeroPoints::AsStored, info.out_features, words);
                // Where all are equal their order does not matter.
                let odd = find(&words).and_then(|_| find(&awq::repack_zeros(&words)));
                Ok(Some(Zeros { tensor: qzeros, matrix: None, bits, claim, odd, odd_otherwise: None }))
            }
            Numbers::Compressed(CompressedNumbers { zero_points: Some(id), slice, claim, .. }) => {
                let format = info.grouped();
                let (bits, shape) = (format.bits, [slice.n_rows, format.groups(info.in_features)]);
                let words = self.read_zero_points(id, info, slice)?;
                let odd = compressed_tensors::find_odd_zero(bits, shape, &words);
                let matrix = Some(slice.matrix).filter(|_| slice.n_matrices > 1);
                Ok(Some(Zeros { tensor: id, matrix, bits, claim, odd, odd_otherwise: None }))
            }
        }
    }

    /// Whether any zero point of the whole matrix is not `2^(bits - 1)`.
    pub(crate) fn is_asymmetric(&self, info: &MatrixInfo) -> Result<bool> {
        let Some(zeros) = self.zeros(info)? else { return Ok(false) };
        let otherwise = match info.numbers {
            Numbers::Gptq(GptqNumbers { zero_points, .. }) => self.stored_zeros(zero_points)? != zero_points,
            _ => {
                let mut faults = Faults::default();
                self.settle(&[zeros], &mut faults);
                faults.into_result(false)?
            }
        };
        Ok(zeros.is_asymmetric(otherwise))
    }

    /// How `qzeros` are stored, which the configuration says to be as `said`. Whoever asks before [`Self::contents`] was
    /// called waits until those of every matrix are read, if that can change anything.
    pub(crate) fn stored_zeros(&self, said: ZeroPoints) -> Result<ZeroPoints> {
        if let Some(otherwise) = self.otherwise.get() {
            return Ok(if *otherwise { said.other() } else { said });
        }
        let is_open = |info: &&MatrixInfo| match info.numbers {
            Numbers::Gptq(GptqNumbers { claim, .. }) | Numbers::Awq(AwqNumbers { claim, .. }) => claim == Claim::Open,
            Numbers::Dense(_) | Numbers::Compressed(_) => false,
        };
        let mut named: Vec<(&String, &MatrixInfo)> = self.resolved.matrices.iter().collect();
        named.sort_unstable_by_key(|(name, _)| *name);
        let packed = |info: &&MatrixInfo| matches!(info.numbers, Numbers::Gptq(_) | Numbers::Awq(_));
        let all = named.into_iter().map(|(_, info)| info).chain(&self.resolved.experts);
        let mut all: Vec<&MatrixInfo> = all.filter(packed).collect();
        if all.iter().all(is_open) {
            all.clear();
        }
        let found = threads::map_in_order(&all, threads::available(), || (), |(): &mut (), info| self.zeros(info))?;
        let found: Vec<Zeros> = found.into_iter().flatten().collect();
        let mut faults = Faults::default();
        let otherwise = self.settle(&found, &mut faults);
        faults.into_result(if otherwise { said.other() } else { said })
    }

    /// Whether zero points are stored in the other way than the configuration says, by those of `all` matrices that claim
    /// symmetry, or of those of which nothing is said; what fits neither way is a fault.
    pub(crate) fn settle(&self, all: &[Zeros], faults: &mut Faults) -> bool {
        let of = |claim| all.iter().filter(|zeros| zeros.claim == claim).collect::<Vec<&Zeros>>();
        let mut claims = of(Claim::Symmetric);
        let fitting = claims.iter().filter(|zeros| zeros.odd.is_none()).count();
        let otherwise = claims.iter().filter(|zeros| zeros.fits_otherwise()).count();
        let against = all.iter().find(|zeros| zeros.tells_against_other());
        let mut is_other = fitting < claims.len() && otherwise == claims.len() && against.is_none();
        if fitting < claims.len() && !is_other {
            faults.push(self.contradiction(&claims, against));
            return false;
        }
        if claims.is_empty() && against.is_none() {
            claims = of(Claim::Silent);
            // Each of them is one value throughout, and not by chance the one that the other convention has in the middle.
            is_other = !claims.is_empty() && claims.iter().all(|zeros| zeros.odd.is_some() && zeros.fits_otherwise());
        }
        // Only the first to find out says so.
        if self.otherwise.set(is_other).is_ok() {
            self.note(&claims, is_other);
        }
        is_other
    }

    fn note(&self, claims: &[&Zeros], is_other: bool) {
        let (Some(first), Some(config)) = (claims.first(), &self.quantization) else { return };
        let claim = match first.claim {
            Claim::Symmetric => config.sym_claim_text(),
            Claim::Silent | Claim::Open => format!("{} is absent", config.key("sym")),
        };
        let source = self.source.describe();
        let (name, value) = (&self.index.tensors[first.tensor].name, 1 << (first.bits - 1));
        match config.reader {
            Reader::Gptq(stored) if is_other => {
                let (said, found) = (stored.describe(), stored.other().describe());
                let key = config.key(&config.format);
                log::warn!(
                    "{source}: {key} says that zero points are stored {said}, but {claim}, and all are {value} if \
                     stored {found}, which is taken ({} tensors, first {name:?})",
                    claims.len()
                );
            }
            Reader::Compressed if first.claim == Claim::Symmetric => {
                log::warn!(
                    "{source}: {claim}, and still tensor {name:?} is there; all zero points are {value}, so both agree"
                );
            }
            _ => {}
        }
    }

    /// What is wrong with `claims`, some of which do not fit; `against` tells against zero points that are stored otherwise.
    fn contradiction(&self, claims: &[&Zeros], against: Option<&Zeros>) -> Fault {
        let Some(config) = &self.quantization else { unreachable!("a claim comes from a configuration") };
        let fitting = claims.iter().filter(|zeros| zeros.odd.is_none()).count();
        let otherwise = claims.iter().filter(|zeros| zeros.fits_otherwise()).count();
        // Where all of them fit otherwise, some other matrix tells against it.
        let most_are_other = otherwise > fitting && otherwise < claims.len();
        let odd_of = |zeros: &Zeros| if most_are_other { zeros.odd_otherwise.flatten() } else { zeros.odd };
        let wrong: Vec<&&Zeros> = claims.iter().filter(|zeros| odd_of(zeros).is_some()).collect();
        let first = wrong.first().expect("a claim that does not fit was counted");
        let odd = odd_of(first).expect("it was filtered by this");
        let name = &self.index.tensors[first.tensor].name;
        let matrix = first.matrix.map_or(String::new(), |matrix| format!("matrix {matrix}, "));
        let found = format!("zero point of {matrix}group {}, row {} is {}", odd.group, odd.row, odd.value);
        let expected = 1 << (first.bits - 1);
        let mut fault =
            Fault::tensor(name).found(found).expected(format!("{expected}")).because(config.sym_claim_text());
        if let (Reader::Gptq(stored), true) = (config.reader, otherwise > 0) {
            let fits = claims.iter().find(|zeros| zeros.fits_otherwise()).expect("it was counted");
            let (other, name) = (stored.other().describe(), &self.index.tensors[fits.tensor].name);
            let mut note = format!("{otherwise} of {} matrices fit if stored {other}, such as {name:?}", claims.len());
            if let Some(zeros) = against.filter(|_| otherwise == claims.len()) {
                note += &format!(", and tensor {:?} does not", self.index.tensors[zeros.tensor].name);
            }
            fault = fault.note(note);
        }
        match wrong.len() {
            1 => fault,
            count => fault.others(Others::first_of(count - 1, "such matrices")),
        }
    }
}
