//! Where EMF lines go.

use std::cell::RefCell;

use serde_json::Value;
use sluice::ports::EmitMetrics;

/// Keeps EMF lines.
#[derive(Debug, Default)]
pub struct MetricLines {
    lines: RefCell<Vec<String>>,
}

impl MetricLines {
    /// The lines, as they were printed.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// The sum of a metric over all lines.
    #[must_use]
    pub fn sum(&self, name: &str) -> u64 {
        self.values(name).iter().sum()
    }

    /// Every value of a metric.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<u64> {
        let lines = self.lines.borrow();
        let members = lines.iter().filter_map(|line| {
            let line: Value = serde_json::from_str(line).expect("an EMF line is JSON");
            line.get(name).cloned()
        });
        members
            .flat_map(|member| match member {
                Value::Array(values) => values,
                value => vec![value],
            })
            .map(|value| value.as_u64().expect("a metric is a whole number"))
            .collect()
    }
}

impl EmitMetrics for &MetricLines {
    fn emit(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
    }
}
