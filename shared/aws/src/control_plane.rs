//! The control plane through the SDK.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::operation::put_metric_alarm::builders::PutMetricAlarmInputBuilder;
use aws_sdk_cloudwatch::types::{
    Dimension, Metric, MetricAlarm, MetricDataQuery, MetricStat, ScanBy, StateValue,
};
use aws_sdk_kinesis::types::{MetricsName, ScalingType, ShardFilter, ShardFilterType};
use aws_sdk_lambda::types::{EventSourceMappingConfiguration, ScalingConfig};
use aws_smithy_types::DateTime;

use super::{Connection, Functions, control_error, epoch_ms};
use aws_smithy_types::retry::RetryConfig;
use sluice::limits::{GET_METRIC_DATA_QUERIES_MAX, UNRESERVED_CONCURRENCY_MIN};
use sluice::ports::{
    Alarm, Alarms, ControlError, DataPoint, MetricQuery, QueueMapping, ReadConcurrency,
    ReadMetrics, ScaleStream, SetConcurrency, StreamSummary,
};
use sluice::scaling::{AlarmState, Shard, StreamStatus};

impl Connection {
    /// A Kinesis client with the SDK's own retries, for calls that may be repeated.
    pub fn kinesis_control(&self) -> aws_sdk_kinesis::Client {
        let config = self.service("KINESIS", RetryConfig::standard());
        aws_sdk_kinesis::Client::new(&config)
    }

    /// A CloudWatch client with the SDK's own retries.
    pub fn cloudwatch(&self) -> aws_sdk_cloudwatch::Client {
        let config = self.service("CLOUDWATCH", RetryConfig::standard());
        aws_sdk_cloudwatch::Client::new(&config)
    }
}

/// One minute, the period of every metric that is read.
const PERIOD_SECONDS: i32 = 60;

/// Kinesis, CloudWatch and Lambda around one stream, with the SDK's own retries where a call may be
/// repeated.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    stream_name: String,
    kinesis: aws_sdk_kinesis::Client,
    /// Tries once. If a reshard was accepted and its answer lost, a second try would be refused
    /// (`ResourceInUseException`) and look as if the first had never counted.
    reshard: aws_sdk_kinesis::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
    lambda: aws_sdk_lambda::Client,
    functions: Functions,
}

impl ControlPlane {
    /// The control plane of `stream_name`.
    pub fn new(connection: &Connection, stream_name: String) -> Self {
        Self {
            stream_name,
            kinesis: connection.kinesis_control(),
            reshard: connection.kinesis(),
            cloudwatch: connection.cloudwatch(),
            lambda: connection.lambda(),
            functions: Functions::new(connection.lambda()),
        }
    }

    async fn metric_alarms(&self, names: &[String]) -> Result<Vec<MetricAlarm>, ControlError> {
        let described = self
            .cloudwatch
            .describe_alarms()
            .set_alarm_names(Some(names.to_vec()))
            .send()
            .await
            .map_err(control_error("DescribeAlarms"))?;
        Ok(described.metric_alarms.unwrap_or_default())
    }
}

fn unexpected(call: &'static str, detail: impl Into<String>) -> ControlError {
    ControlError { call, code: "UnexpectedAnswer".to_owned(), detail: detail.into() }
}

fn time(epoch_ms: u64) -> DateTime {
    DateTime::from_millis(i64::try_from(epoch_ms).unwrap_or(i64::MAX))
}

impl ScaleStream for ControlPlane {
    async fn describe_stream(&self) -> Result<StreamSummary, ControlError> {
        use aws_sdk_kinesis::types::StreamStatus as Status;
        let call = "DescribeStreamSummary";
        let answer = self
            .kinesis
            .describe_stream_summary()
            .stream_name(&self.stream_name)
            .send()
            .await
            .map_err(control_error(call))?;
        let summary = answer.stream_description_summary.ok_or(unexpected(call, "no summary"))?;
        let mode = summary.stream_mode_details.map(|details| details.stream_mode);
        if mode == Some(aws_sdk_kinesis::types::StreamMode::OnDemand) {
            let detail = format!(
                "the stream {} is on-demand and scales itself: remove the scaling functions, or \
                 switch the stream to provisioned",
                self.stream_name
            );
            return Err(ControlError { call, code: "OnDemandStream".to_owned(), detail });
        }
        let status = match summary.stream_status {
            Status::Active => StreamStatus::Active,
            Status::Updating => StreamStatus::Updating,
            Status::Creating => StreamStatus::Creating,
            Status::Deleting => StreamStatus::Deleting,
            other => return Err(unexpected(call, format!("stream status {}", other.as_str()))),
        };
        let open_shards = u32::try_from(summary.open_shard_count)
            .map_err(|_| unexpected(call, "a negative shard count"))?;
        let monitoring = summary.enhanced_monitoring.into_iter();
        let names = monitoring.flat_map(|metrics| metrics.shard_level_metrics.unwrap_or_default());
        let shard_metrics = names.map(|name| name.as_str().to_owned()).collect();
        Ok(StreamSummary { status, open_shards, shard_metrics })
    }

    async fn list_open_shards(&self) -> Result<Vec<Shard>, ControlError> {
        let call = "ListShards";
        let open = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build();
        let open = open.map_err(|error| unexpected(call, error.to_string()))?;
        let mut shards = Vec::new();
        let mut next_token = None;
        loop {
            let request = self.kinesis.list_shards();
            // With a token, the API refuses everything else.
            let request = match next_token {
                None => request.stream_name(&self.stream_name).shard_filter(open.clone()),
                Some(token) => request.next_token(token),
            };
            let page = request.send().await.map_err(control_error(call))?;
            for shard in page.shards.unwrap_or_default() {
                // Engines that ignore the filter list closed shards, too.
                let closed = shard
                    .sequence_number_range
                    .is_some_and(|range| range.ending_sequence_number.is_some());
                if closed {
                    continue;
                }
                let range = shard.hash_key_range.ok_or(unexpected(call, "no hash key range"))?;
                let key = |key: &str| {
                    key.parse().map_err(|_| unexpected(call, "a hash key is no number"))
                };
                shards.push(Shard {
                    from: key(&range.starting_hash_key)?,
                    to: key(&range.ending_hash_key)?,
                    id: shard.shard_id,
                });
            }
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(shards);
            }
        }
    }

    async fn update_shard_count(&self, target: u32) -> Result<(), ControlError> {
        self.reshard
            .update_shard_count()
            .stream_name(&self.stream_name)
            .target_shard_count(i32::try_from(target).unwrap_or(i32::MAX))
            .scaling_type(ScalingType::UniformScaling)
            .send()
            .await
            .map_err(control_error("UpdateShardCount"))?;
        Ok(())
    }

    async fn split_shard(
        &self,
        shard_id: &str,
        new_starting_hash_key: u128,
    ) -> Result<(), ControlError> {
        self.reshard
            .split_shard()
            .stream_name(&self.stream_name)
            .shard_to_split(shard_id)
            .new_starting_hash_key(new_starting_hash_key.to_string())
            .send()
            .await
            .map_err(control_error("SplitShard"))?;
        Ok(())
    }

    async fn enable_shard_metrics(&self, metrics: &BTreeSet<String>) -> Result<(), ControlError> {
        self.kinesis
            .enable_enhanced_monitoring()
            .stream_name(&self.stream_name)
            .set_shard_level_metrics(Some(metrics_names(metrics)))
            .send()
            .await
            .map_err(control_error("EnableEnhancedMonitoring"))?;
        Ok(())
    }

    async fn disable_shard_metrics(&self, metrics: &BTreeSet<String>) -> Result<(), ControlError> {
        self.kinesis
            .disable_enhanced_monitoring()
            .stream_name(&self.stream_name)
            .set_shard_level_metrics(Some(metrics_names(metrics)))
            .send()
            .await
            .map_err(control_error("DisableEnhancedMonitoring"))?;
        Ok(())
    }

    async fn merge_shards(
        &self,
        shard_id: &str,
        adjacent_shard_id: &str,
    ) -> Result<(), ControlError> {
        self.reshard
            .merge_shards()
            .stream_name(&self.stream_name)
            .shard_to_merge(shard_id)
            .adjacent_shard_to_merge(adjacent_shard_id)
            .send()
            .await
            .map_err(control_error("MergeShards"))?;
        Ok(())
    }

    async fn list_tags(&self) -> Result<BTreeMap<String, String>, ControlError> {
        let mut tags = BTreeMap::new();
        let mut last_key = None;
        loop {
            let page = self
                .kinesis
                .list_tags_for_stream()
                .stream_name(&self.stream_name)
                .set_exclusive_start_tag_key(last_key)
                .send()
                .await
                .map_err(control_error("ListTagsForStream"))?;
            last_key = page.tags.last().map(|tag| tag.key.clone());
            tags.extend(page.tags.into_iter().map(|tag| (tag.key, tag.value.unwrap_or_default())));
            if !page.has_more_tags || last_key.is_none() {
                return Ok(tags);
            }
        }
    }

    async fn add_tags(&self, tags: &BTreeMap<String, String>) -> Result<(), ControlError> {
        self.kinesis
            .add_tags_to_stream()
            .stream_name(&self.stream_name)
            .set_tags(Some(tags.clone().into_iter().collect()))
            .send()
            .await
            .map_err(control_error("AddTagsToStream"))?;
        Ok(())
    }
}

fn metrics_names(metrics: &BTreeSet<String>) -> Vec<MetricsName> {
    metrics.iter().map(|metric| MetricsName::from(metric.as_str())).collect()
}

impl Alarms for ControlPlane {
    async fn describe_alarms(&self, names: &[String]) -> Result<Vec<Alarm>, ControlError> {
        let alarms = self.metric_alarms(names).await?;
        Ok(alarms
            .into_iter()
            .filter_map(|alarm| {
                Some(Alarm {
                    name: alarm.alarm_name?,
                    state: match alarm.state_value? {
                        StateValue::Alarm => AlarmState::Alarm,
                        StateValue::Ok => AlarmState::Ok,
                        _ => AlarmState::InsufficientData,
                    },
                    threshold: alarm.threshold.unwrap_or_default(),
                    period_seconds: u32::try_from(alarm.period?).ok()?,
                })
            })
            .collect())
    }

    async fn put_alarm_threshold(&self, alarm: &str, threshold: f64) -> Result<(), ControlError> {
        let found = self.metric_alarms(&[alarm.to_owned()]).await?.into_iter().next();
        let was = found.ok_or_else(|| unexpected("DescribeAlarms", format!("no alarm {alarm}")))?;
        with_threshold(was, threshold)
            .send_with(&self.cloudwatch)
            .await
            .map_err(control_error("PutMetricAlarm"))?;
        Ok(())
    }

    async fn rearm_alarm(&self, alarm: &str) -> Result<(), ControlError> {
        self.cloudwatch
            .set_alarm_state()
            .alarm_name(alarm)
            .state_value(StateValue::InsufficientData)
            .state_reason("Sluice has acted; armed again")
            .send()
            .await
            .map_err(control_error("SetAlarmState"))?;
        Ok(())
    }
}

/// The alarm as it was, with another threshold. PutMetricAlarm takes away what it is not given.
fn with_threshold(was: MetricAlarm, threshold: f64) -> PutMetricAlarmInputBuilder {
    // An alarm on one metric may be described with an empty list of queries, and PutMetricAlarm
    // refuses an alarm that has both a metric and a list.
    let metrics = was.metrics.filter(|metrics| !metrics.is_empty());
    PutMetricAlarmInputBuilder::default()
        .set_alarm_name(was.alarm_name)
        .set_alarm_description(was.alarm_description)
        .set_actions_enabled(was.actions_enabled)
        .set_ok_actions(was.ok_actions)
        .set_alarm_actions(was.alarm_actions)
        .set_insufficient_data_actions(was.insufficient_data_actions)
        .set_metric_name(was.metric_name)
        .set_namespace(was.namespace)
        .set_statistic(was.statistic)
        .set_extended_statistic(was.extended_statistic)
        .set_dimensions(was.dimensions)
        .set_period(was.period)
        .set_unit(was.unit)
        .set_evaluation_periods(was.evaluation_periods)
        .set_datapoints_to_alarm(was.datapoints_to_alarm)
        .set_comparison_operator(was.comparison_operator)
        .set_treat_missing_data(was.treat_missing_data)
        .set_evaluate_low_sample_count_percentile(was.evaluate_low_sample_count_percentile)
        .set_metrics(metrics)
        .set_threshold_metric_id(was.threshold_metric_id)
        .set_evaluation_window(was.evaluation_window)
        .set_warm_up_configuration(was.warm_up_configuration)
        .set_evaluation_criteria(was.evaluation_criteria)
        .set_evaluation_interval(was.evaluation_interval)
        .set_action_configuration(was.action_configuration)
        .threshold(threshold)
}

impl ReadMetrics for ControlPlane {
    async fn get_metrics(
        &self,
        queries: &[MetricQuery],
        from_ms: u64,
        to_ms: u64,
    ) -> Result<Vec<Vec<DataPoint>>, ControlError> {
        let mut series = Vec::with_capacity(queries.len());
        for chunk in queries.chunks(GET_METRIC_DATA_QUERIES_MAX) {
            series.append(&mut self.get_metrics_chunk(chunk, from_ms, to_ms).await?);
        }
        Ok(series)
    }
}

impl ControlPlane {
    async fn get_metrics_chunk(
        &self,
        queries: &[MetricQuery],
        from_ms: u64,
        to_ms: u64,
    ) -> Result<Vec<Vec<DataPoint>>, ControlError> {
        let call = "GetMetricData";
        let mut series: Vec<Vec<DataPoint>> = vec![Vec::new(); queries.len()];
        let queries: Vec<_> = queries.iter().enumerate().map(metric_data_query).collect();
        let mut next_token = None;
        loop {
            let page = self
                .cloudwatch
                .get_metric_data()
                .set_metric_data_queries(Some(queries.clone()))
                .start_time(time(from_ms))
                .end_time(time(to_ms))
                .scan_by(ScanBy::TimestampAscending)
                .set_next_token(next_token)
                .send()
                .await
                .map_err(control_error(call))?;
            for result in page.metric_data_results.unwrap_or_default() {
                let place = result.id.as_deref().and_then(|id| id.strip_prefix('q')?.parse().ok());
                let points = place
                    .and_then(|place: usize| series.get_mut(place))
                    .ok_or(unexpected(call, "a result without a query"))?;
                let timestamps = result.timestamps.unwrap_or_default();
                let values = result.values.unwrap_or_default();
                for (timestamp, value) in timestamps.iter().zip(values) {
                    let epoch_ms = epoch_ms(timestamp)
                        .ok_or(unexpected(call, "a data point from before 1970"))?;
                    points.push(DataPoint { epoch_ms, value });
                }
            }
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(series);
            }
        }
    }
}

fn metric_data_query((place, query): (usize, &MetricQuery)) -> MetricDataQuery {
    let dimensions = query
        .dimensions
        .iter()
        .map(|(name, value)| Dimension::builder().name(name).value(value).build())
        .collect();
    let metric = Metric::builder()
        .namespace(&query.namespace)
        .metric_name(&query.name)
        .set_dimensions(Some(dimensions))
        .build();
    let stat =
        MetricStat::builder().metric(metric).period(PERIOD_SECONDS).stat(&query.statistic).build();
    MetricDataQuery::builder().id(format!("q{place}")).metric_stat(stat).return_data(true).build()
}

impl ReadConcurrency for ControlPlane {
    async fn get_reserved_concurrency(&self, function: &str) -> Result<Option<u32>, ControlError> {
        self.functions.get_reserved_concurrency(function).await
    }
}

/// The mapping, when its source is a queue.
fn of_queue(mapping: EventSourceMappingConfiguration) -> Option<QueueMapping> {
    let mut source = mapping.event_source_arn.as_deref()?.split(':').skip(2);
    let (service, queue) = (source.next()?, source.last()?);
    let maximum = mapping.scaling_config.and_then(|scaling| scaling.maximum_concurrency);
    (service == "sqs").then_some(QueueMapping {
        id: mapping.uuid?,
        queue: queue.to_owned(),
        maximum: maximum.and_then(|maximum| u32::try_from(maximum).ok()),
    })
}

impl SetConcurrency for ControlPlane {
    async fn put_reserved_concurrency(
        &self,
        function: &str,
        reserved: u32,
    ) -> Result<(), ControlError> {
        self.lambda
            .put_function_concurrency()
            .function_name(function)
            .reserved_concurrent_executions(i32::try_from(reserved).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(control_error("PutFunctionConcurrency"))?;
        Ok(())
    }

    async fn find_queue_mapping(
        &self,
        function: &str,
    ) -> Result<Option<QueueMapping>, ControlError> {
        let mut marker = None;
        loop {
            let page = self
                .lambda
                .list_event_source_mappings()
                .function_name(function)
                .set_marker(marker)
                .send()
                .await
                .map_err(control_error("ListEventSourceMappings"))?;
            let found =
                page.event_source_mappings.unwrap_or_default().into_iter().find_map(of_queue);
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if found.is_some() || marker.is_none() {
                return Ok(found);
            }
        }
    }

    async fn put_mapping_concurrency(
        &self,
        mapping: &str,
        maximum: u32,
    ) -> Result<(), ControlError> {
        let maximum = i32::try_from(maximum).unwrap_or(i32::MAX);
        let scaling = ScalingConfig::builder().maximum_concurrency(maximum).build();
        self.lambda
            .update_event_source_mapping()
            .uuid(mapping)
            .scaling_config(scaling)
            .send()
            .await
            .map_err(control_error("UpdateEventSourceMapping"))?;
        Ok(())
    }

    async fn get_reservable_concurrency(&self) -> Result<u32, ControlError> {
        let call = "GetAccountSettings";
        let answer =
            self.lambda.get_account_settings().send().await.map_err(control_error(call))?;
        let unreserved = answer
            .account_limit
            .and_then(|limit| limit.unreserved_concurrent_executions)
            .and_then(|unreserved| u32::try_from(unreserved).ok())
            .ok_or(unexpected(call, "no unreserved concurrency"))?;
        Ok(unreserved.saturating_sub(UNRESERVED_CONCURRENCY_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_queues_mapping_is_one() {
        let mapping = |arn: &str| {
            let scaling = ScalingConfig::builder().maximum_concurrency(4).build();
            let builder =
                EventSourceMappingConfiguration::builder().uuid("u").event_source_arn(arn);
            of_queue(builder.scaling_config(scaling).build())
        };
        let queue = QueueMapping { id: "u".to_owned(), queue: "b".to_owned(), maximum: Some(4) };
        assert_eq!(mapping("arn:aws:sqs:eu-west-1:111122223333:b"), Some(queue));
        assert_eq!(mapping("arn:aws:kinesis:eu-west-1:111122223333:stream/sqs"), None);
        assert_eq!(mapping("sqs"), None);
    }

    #[test]
    fn a_new_threshold_leaves_all_else_of_an_alarm_as_it_was() {
        let was = MetricAlarm::builder()
            .alarm_name("bytes")
            .metric_name("IncomingBytes")
            .ok_actions("arn:aws:sns:eu-west-1:111122223333:ok")
            .evaluation_interval(60)
            .set_metrics(Some(Vec::new()))
            .threshold(1.0);
        let put = with_threshold(was.build(), 2.0).build().expect("a whole request");
        assert_eq!(put.threshold(), Some(2.0));
        assert_eq!(put.metric_name(), Some("IncomingBytes"));
        assert_eq!(put.ok_actions(), ["arn:aws:sns:eu-west-1:111122223333:ok"]);
        assert_eq!(put.evaluation_interval(), Some(60));
        assert_eq!(put.metrics, None, "a metric and a list of queries exclude each other");
    }
}
