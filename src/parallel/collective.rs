//! How the results of ranks become one.

/// Combines what ranks computed. Values are `[rows, width]`, one vector a rank in the order of ranks.
pub trait Collective: std::fmt::Debug + Send {
    /// The sum of what all ranks have: partial results of a row-parallel product.
    fn all_reduce(&self, ranks: &[Vec<f32>]) -> Vec<f32>;

    /// The columns of all ranks side by side: results of a column-parallel product. `widths` says how many columns each
    /// rank has.
    fn all_gather(&self, ranks: &[Vec<f32>], widths: &[usize]) -> Vec<f32>;
}

/// Ranks of one process, whose results go through host memory. Sums are taken from rank 0 on, so that they do not depend
/// on who is done first.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostMemory;

impl Collective for HostMemory {
    fn all_reduce(&self, ranks: &[Vec<f32>]) -> Vec<f32> {
        let mut sum = ranks.first().cloned().unwrap_or_default();
        for values in ranks.iter().skip(1) {
            assert_eq!(values.len(), sum.len(), "ranks reduce the same tensor");
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        sum
    }

    fn all_gather(&self, ranks: &[Vec<f32>], widths: &[usize]) -> Vec<f32> {
        assert_eq!(ranks.len(), widths.len(), "a width for each rank");
        let rows = ranks.first().map_or(0, |values| values.len() / widths[0]);
        let row =
            |row: usize| ranks.iter().zip(widths).flat_map(move |(values, &width)| &values[row * width..][..width]);
        (0..rows).flat_map(row).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_columns() {
        let ranks = [vec![1.0, 2.0, 3.0, 4.0], vec![10.0, 20.0, 30.0, 40.0]];
        assert_eq!(HostMemory.all_reduce(&ranks), [11.0, 22.0, 33.0, 44.0]);
        assert_eq!(HostMemory.all_gather(&[ranks[0].clone(), vec![7.0, 8.0]], &[2, 1]), [1.0, 2.0, 7.0, 3.0, 4.0, 8.0]);
    }
}
