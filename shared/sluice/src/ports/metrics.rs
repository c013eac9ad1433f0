//! Metrics: emitted as lines, read from CloudWatch.

use super::ControlError;

/// Takes one line of metrics in CloudWatch's embedded metric format.
pub trait EmitMetrics {
    /// Emits the line; it has no newline at its end.
    fn emit(&self, line: &str);
}

/// One metric to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricQuery {
    /// `Namespace`.
    pub namespace: String,
    /// `MetricName`.
    pub name: String,
    /// `Dimensions`.
    pub dimensions: Vec<(String, String)>,
    /// `Sum`, `Maximum`, `p99`, …
    pub statistic: String,
}

/// One data point: the minute that it belongs to, and the statistic over it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DataPoint {
    /// The period's begin, in milliseconds since 1970.
    pub epoch_ms: u64,
    /// The statistic.
    pub value: f64,
}

/// Reads metrics.
pub trait ReadMetrics {
    /// GetMetricData at one-minute periods in `from_ms`…`to_ms`; a list of data points a query,
    /// oldest first. Minutes without data are left out.
    fn get_metrics(
        &self,
        queries: &[MetricQuery],
        from_ms: u64,
        to_ms: u64,
    ) -> impl Future<Output = Result<Vec<Vec<DataPoint>>, ControlError>>;
}
