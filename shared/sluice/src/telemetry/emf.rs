//! CloudWatch's embedded metric format: metrics as one JSON line, without a call.
//!
//! Format: "Specification: Embedded metric format", CloudWatch user guide, read in November 2026.

use serde_json::{Map, Value, json};

use super::NAMESPACE;
use crate::limits::EMF_VALUES_MAX;

/// CloudWatch's unit names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Hundredths.
    Percent,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Bytes => "Bytes",
            Self::Milliseconds => "Milliseconds",
            Self::Seconds => "Seconds",
            Self::Percent => "Percent",
        }
    }
}

/// One line of metrics under one set of dimensions.
#[derive(Debug)]
pub struct EmfLine {
    timestamp_ms: u64,
    dimensions: Vec<&'static str>,
    definitions: Vec<Value>,
    members: Map<String, Value>,
}

impl EmfLine {
    /// An empty line at `timestamp_ms` under `dimensions`.
    pub fn new(timestamp_ms: u64, dimensions: &[(&'static str, &str)]) -> Self {
        let members =
            dimensions.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let dimensions = dimensions.iter().map(|(name, _)| *name).collect();
        Self { timestamp_ms, dimensions, definitions: Vec::new(), members }
    }

    /// Adds a metric at a resolution of one minute.
    pub fn metric(&mut self, name: &'static str, unit: Unit, value: u64) -> &mut Self {
        self.definitions.push(json!({ "Name": name, "Unit": unit.name() }));
        self.members.insert(name.to_owned(), json!(value));
        self
    }

    /// Adds a metric at a resolution of one second.
    pub fn metric_high_resolution(
        &mut self,
        name: &'static str,
        unit: Unit,
        value: u64,
    ) -> &mut Self {
        self.definitions.push(json!({ "Name": name, "Unit": unit.name(), "StorageResolution": 1 }));
        self.members.insert(name.to_owned(), json!(value));
        self
    }

    /// Adds a metric with several values, from which CloudWatch makes percentiles. Without any
    /// value there is no metric.
    pub fn values(&mut self, name: &'static str, unit: Unit, values: &[u64]) -> &mut Self {
        debug_assert!(values.len() <= EMF_VALUES_MAX);
        if !values.is_empty() {
            self.definitions.push(json!({ "Name": name, "Unit": unit.name() }));
            self.members.insert(name.to_owned(), json!(values));
        }
        self
    }

    /// Adds a member that is no metric.
    pub fn property(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.members.insert(name.to_owned(), json!(value));
        self
    }

    /// The line, without a newline.
    pub fn to_line(&self) -> String {
        let mut line = Map::new();
        line.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": self.timestamp_ms,
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": [self.dimensions],
                    "Metrics": self.definitions,
                }],
            }),
        );
        line.extend(self.members.clone());
        Value::Object(line).to_string()
    }
}
