//! How much of a model each rank takes, and the cuts that follow.

use std::ops::Range;
use std::str::FromStr;

use crate::error::Usage;
use crate::{Error, Result};

/// The most ranks that a model is cut for.
pub const MAX_RANKS: usize = 8;

/// The weight of each rank: 1, 1 for two equal ones, 5, 3 where the first takes five eighths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares(Vec<u32>);

impl Default for Shares {
    /// One rank that takes all.
    fn default() -> Self {
        Shares(vec![1])
    }
}

impl Shares {
    /// Equal shares for `ranks` ranks.
    ///
    /// # Errors
    /// [`Error::Usage`] for none or more than [`MAX_RANKS`].
    pub fn equal(ranks: usize) -> Result<Self> {
        // Before memory is taken for that many.
        Self::check_ranks(ranks)?;
        Self::new(vec![1; ranks])
    }

    /// Shares in proportion to `weights`.
    ///
    /// # Errors
    /// [`Error::Usage`] for none or more than [`MAX_RANKS`], or where a rank gets nothing.
    pub fn new(weights: Vec<u32>) -> Result<Self> {
        Self::check_ranks(weights.len())?;
        match weights.iter().position(|&weight| weight == 0) {
            Some(rank) => Err(Usage::EmptyShare { rank }.into()),
            None => Ok(Shares(weights)),
        }
    }

    fn check_ranks(found: usize) -> Result<()> {
        match found {
            1..=MAX_RANKS => Ok(()),
            _ => Err(Usage::Ranks { found, most: MAX_RANKS }.into()),
        }
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> usize {
        self.0.len()
    }

    /// Cuts `size` things in proportion, where cuts fall on multiples of `unit` if that leaves no rank empty.
    ///
    /// # Errors
    /// [`Error::Usage`] naming `what` and the rank that would get none.
    pub(crate) fn cut(&self, what: &str, size: usize, unit: usize) -> Result<Vec<Range<usize>>> {
        let even = self.bounds(|sum, total| (size * sum).div_ceil(total));
        if let Some(rank) = even.iter().position(Range::is_empty) {
            let ranks = self.ranks();
            let what = what.to_owned();
            return Err(match ranks > size {
                true => Usage::TooManyRanks { ranks, what, size }.into(),
                false => Usage::UnevenShares { shares: self.to_string(), rank, what, size }.into(),
            });
        }
        let aligned = self.bounds(|sum, total| {
            // To the nearest multiple; the end stays where it is.
            if sum == total { size } else { (2 * size * sum + total * unit) / (2 * total * unit) * unit }
        });
        let fits = aligned.iter().all(|range| !range.is_empty() && range.end <= size);
        Ok(if unit > 1 && fits { aligned } else { even })
    }

    fn bounds(&self, bound: impl Fn(usize, usize) -> usize) -> Vec<Range<usize>> {
        let total = self.0.iter().map(|&weight| weight as usize).sum();
        let (mut sum, mut start) = (0, 0);
        let next = self.0.iter().map(|&weight| {
            sum += weight as usize;
            let range = start..bound(sum, total);
            start = range.end;
            range
        });
        next.collect()
    }
}

impl FromStr for Shares {
    type Err = Error;

    /// `5,3`: a list of whole numbers.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |part: &str| {
            Error::Usage(Usage::Value {
                name: "shares".into(),
                found: format!("{part:?}"),
                expected: "whole numbers like 5,3".into(),
            })
        };
        let weight = |part: &str| part.trim().parse::<u16>().map(u32::from).map_err(|_| wrong(part));
        Self::new(text.split(',').map(weight).collect::<Result<_>>()?)
    }
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn ends(shares: &str, size: usize, unit: usize) -> Vec<usize> {
        let cuts = shares.parse::<Shares>().unwrap().cut("things", size, unit).unwrap();
        assert_eq!(cuts[0].start, 0);
        assert!(cuts.windows(2).all(|pair| pair[0].end == pair[1].start), "{cuts:?}");
        cuts.iter().map(|range| range.end).collect()
    }

    #[test]
    fn cuts_are_in_proportion() {
        assert_eq!(ends("1,1,1", 128, 1), [43, 86, 128]);
        assert_eq!(ends("1,1,1", 16, 1), [6, 11, 16]);
        assert_eq!(ends("5,3", 704, 1), [440, 704]);
        assert_eq!(ends("1", 7, 1), [7]);
        assert_eq!(ends("1,1,1,1,1,1,1,1", 704, 1), [88, 176, 264, 352, 440, 528, 616, 704]);
    }

    #[test]
    fn aligned_cuts_fall_on_borders_where_no_rank_goes_empty() {
        assert_eq!(ends("1,1", 704, 128), [384, 704]); // 2.75 groups are 3
        assert_eq!(ends("1,1", 2112, 128), [1024, 2112]); // 8.25 are 8
        assert_eq!(ends("1,1,1", 704, 128), [256, 512, 704]);
        assert_eq!(ends("1,1", 100, 128), [50, 100]); // one group: as the shares say
        assert_eq!(ends("1,1,1,1,1,1,1,1", 704, 128), [88, 176, 264, 352, 440, 528, 616, 704]);
    }

    #[test]
    fn what_cannot_be_shared_is_named() {
        let error = |shares: &str, size| match shares.parse::<Shares>() {
            Ok(shares) => shares.cut("query heads", size, 1).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(error("1,1,1", 2), "3 ranks, but the model has 2 query heads, expected at most 2 ranks");
        assert_eq!(
            error("100,1", 4),
            "shares 100,1: rank 1 gets none of the model's 4 query heads, expected at least 1"
        );
        assert_eq!(error("1,0", 4), "shares: rank 1 has 0, expected at least 1 for each rank");
        assert_eq!(error("1,x", 4), "shares: found \"x\", expected whole numbers like 5,3");
        assert_eq!(error("", 4), "shares: found \"\", expected whole numbers like 5,3");
        assert_eq!(error("1,1,1,1,1,1,1,1,1", 16), "9 ranks, expected 1 to 8");
    }
}
