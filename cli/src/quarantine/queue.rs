//! The quarantine queue, and what is in hand of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, anyhow, bail};
use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use serde::Deserialize;
use sluice::limits::{SQS_BATCH_MESSAGES_MAX, SQS_MESSAGE_BYTES_MAX};

use super::arguments::Place;
use super::held::Held;
use crate::terminal::{plain, say};

/// How long a message is out of sight while the program looks at it: enough for a hundred thousand.
/// All are put back at once at the end; only those of a killed run stay away for so long.
const HIDDEN_SECONDS: i32 = 600;
/// How SQS says that it does not take one message of a batch.
const OF_ONE_MESSAGE: [&str; 4] = [
    "BatchRequestTooLong",
    "InvalidAttributeValue",
    "InvalidMessageContents",
    "InvalidParameterValue",
];

/// A call that failed, for people.
fn failed<E, R>(call: &'static str) -> impl Fn(SdkError<E, R>) -> anyhow::Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    move |error| {
        let (code, detail) = sluice_aws::describe(&error);
        anyhow!("{call}: {code}: {detail}")
    }
}

/// The URL of the queue at `place`.
pub async fn url_of(place: &Place, config: &SdkConfig, sqs: &Client) -> anyhow::Result<String> {
    let name = match (&place.queue, &place.stack) {
        (Some(url), _) if url.contains("://") => return Ok(url.clone()),
        (Some(name), _) => name.clone(),
        (None, Some(stack)) => name_by_alarm(stack, config).await?,
        (None, None) => bail!("name the quarantine: --stack or --queue"),
    };
    url_by_name(sqs, &name).await
}

async fn url_by_name(sqs: &Client, name: &str) -> anyhow::Result<String> {
    let answer = sqs.get_queue_url().queue_name(name).send().await;
    let answer = answer.map_err(failed("GetQueueUrl")).with_context(|| format!("queue {name}"))?;
    answer.queue_url.context("GetQueueUrl answered without a URL")
}

/// The queue that the stack's alarm watches. The alarm has the stack's name, whatever NamePrefix is,
/// and asking for it spares the program an SDK for CloudFormation.
async fn name_by_alarm(stack: &str, config: &SdkConfig) -> anyhow::Result<String> {
    let alarm = format!("{stack}-quarantine-not-empty");
    let cloudwatch = aws_sdk_cloudwatch::Client::new(config);
    let answer = cloudwatch.describe_alarms().alarm_names(&alarm).send().await;
    let answer = answer.map_err(failed("DescribeAlarms"))?;
    let found = answer.metric_alarms().iter().find(|one| one.alarm_name() == Some(&alarm));
    let dimensions = found.map(|alarm| alarm.dimensions()).unwrap_or_default();
    let queue = dimensions.iter().find(|dimension| dimension.name() == Some("QueueName"));
    let queue = queue.and_then(|dimension| dimension.value()).with_context(|| {
        format!(
            "no alarm {alarm} is here: is {stack} a log-processing stack in this account and region? \
             --queue names the queue itself"
        )
    })?;
    Ok(queue.to_owned())
}

/// `RedriveAllowPolicy`, as far as it counts here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RedriveAllowPolicy {
    source_queue_arns: Vec<String>,
}

/// The quarantine queue.
pub struct Quarantine {
    sqs: Client,
    /// Its URL.
    pub url: String,
    /// Seconds after which SQS deletes a message.
    pub retention_seconds: u64,
    /// About how many messages can be received.
    pub messages: u64,
    /// About how many somebody else has received.
    pub hidden: u64,
    redrive_allow_policy: String,
    seen: HashSet<String>,
    /// Receipts by message, so that one that came twice is given back by its last. Not the messages: a
    /// full queue has many.
    in_hand: BTreeMap<String, String>,
}

impl Quarantine {
    /// The queue at `url`, with nothing of it in hand.
    pub async fn open(sqs: Client, url: String) -> anyhow::Result<Self> {
        let answer = sqs.get_queue_attributes().queue_url(&url);
        let answer = answer.attribute_names(QueueAttributeName::All).send().await;
        let answer = answer.map_err(failed("GetQueueAttributes")).with_context(|| url.clone())?;
        let attributes: HashMap<_, _> = answer.attributes.unwrap_or_default();
        let number = |name: QueueAttributeName| {
            let number = attributes.get(&name).and_then(|number| number.parse().ok());
            number.with_context(|| format!("{url} has no number as {name}"))
        };
        Ok(Self {
            retention_seconds: number(QueueAttributeName::MessageRetentionPeriod)?,
            messages: number(QueueAttributeName::ApproximateNumberOfMessages)?,
            hidden: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)?,
            redrive_allow_policy: attributes
                .get(&QueueAttributeName::RedriveAllowPolicy)
                .cloned()
                .unwrap_or_default(),
            sqs,
            url,
            seen: HashSet::new(),
            in_hand: BTreeMap::new(),
        })
    }

    /// The URL of the queue that this one is the quarantine of.
    pub async fn dead_letter_queue(&self) -> anyhow::Result<String> {
        let policy: RedriveAllowPolicy =
            serde_json::from_str(&self.redrive_allow_policy).unwrap_or_default();
        let [source] = &policy.source_queue_arns[..] else {
            bail!(
                "{} does not name one source queue; is it a quarantine queue of Sluice?",
                self.url
            );
        };
        let name = source.rsplit(':').next().unwrap_or_default();
        url_by_name(&self.sqs, name).await
    }

    /// Takes messages in hand that were not seen before, a batch of them; none when there are no more.
    pub async fn take(&mut self) -> anyhow::Result<Vec<Held>> {
        let answer = self
            .sqs
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(SQS_BATCH_MESSAGES_MAX as i32)
            .visibility_timeout(HIDDEN_SECONDS)
            .wait_time_seconds(1)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(failed("ReceiveMessage"))?;
        let batch: Vec<Held> =
            answer.messages.unwrap_or_default().into_iter().map(Held::from).collect();
        for held in &batch {
            self.in_hand.insert(held.id.clone(), held.receipt_handle.clone());
        }
        let mut is_new = |held: &Held| self.seen.insert(held.id.clone());
        Ok(batch.into_iter().filter(|held| is_new(held)).collect())
    }

    /// Lets everything in hand be seen again.
    pub async fn put_back(&mut self) -> anyhow::Result<()> {
        let receipts: Vec<String> = std::mem::take(&mut self.in_hand).into_values().collect();
        for receipts in receipts.chunks(SQS_BATCH_MESSAGES_MAX) {
            let entry = |(number, receipt): (usize, &String)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(number.to_string())
                    .receipt_handle(receipt)
                    .visibility_timeout(0)
                    .build()
            };
            let entries = receipts.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
            let call = self.sqs.change_message_visibility_batch().queue_url(&self.url);
            let answer = call.set_entries(Some(entries)).send().await;
            answer.map_err(failed("ChangeMessageVisibilityBatch"))?;
        }
        Ok(())
    }

    /// Deletes what another queue has now; says how many stayed.
    pub async fn delete(&mut self, batch: &[&Held]) -> anyhow::Result<u64> {
        let entry = |(number, held): (usize, &&Held)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .receipt_handle(&held.receipt_handle)
                .build()
        };
        let entries = batch.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
        let call = self.sqs.delete_message_batch().queue_url(&self.url);
        let answer = call.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(failed("DeleteMessageBatch"))?;
        let failed: HashSet<&str> = answer.failed().iter().map(|entry| entry.id()).collect();
        for (number, held) in batch.iter().enumerate() {
            if !failed.contains(number.to_string().as_str()) {
                self.in_hand.remove(&held.id);
            }
        }
        Ok(failed.len() as u64)
    }

    /// Sends messages to `target`, and says which of them are there. One that SQS does not take keeps
    /// no other back.
    pub async fn send<'a>(
        &self,
        target: &str,
        batch: &[&'a Held],
    ) -> anyhow::Result<Vec<&'a Held>> {
        match self.send_batch(target, batch).await {
            Ok(sent) => Ok(sent),
            Err(error) if batch.len() > 1 && is_of_one_message(&error) => {
                let mut there = Vec::new();
                for held in batch {
                    match self.send_batch(target, &[held]).await {
                        Ok(sent) => there.extend(sent),
                        Err(error) => refused(error)?,
                    }
                }
                Ok(there)
            }
            Err(error) => refused(error).map(|()| Vec::new()),
        }
    }

    async fn send_batch<'a>(
        &self,
        target: &str,
        batch: &[&'a Held],
    ) -> Result<Vec<&'a Held>, SdkError<SendMessageBatchError>> {
        let entry = |(number, held): (usize, &&Held)| {
            SendMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .message_body(&held.body)
                .set_message_attributes(Some(held.attributes_back()))
                .build()
        };
        let entries = batch.iter().enumerate().map(entry).collect::<Result<_, _>>();
        let entries = entries.map_err(SdkError::construction_failure)?;
        let call = self.sqs.send_message_batch().queue_url(target);
        let answer = call.set_entries(Some(entries)).send().await?;
        for entry in answer.failed() {
            let (code, detail) = (entry.code(), entry.message().unwrap_or_default());
            say(&format!("refused: {}: {}", plain(code), plain(detail)));
        }
        let held = |id: &str| batch.get(id.parse::<usize>().ok()?).copied();
        Ok(answer.successful().iter().filter_map(|entry| held(entry.id())).collect())
    }
}

fn is_of_one_message(error: &SdkError<SendMessageBatchError>) -> bool {
    let code = error.code().unwrap_or_default();
    OF_ONE_MESSAGE.contains(&code.rsplit('.').next().unwrap_or_default())
}

/// Says that a message was refused; any other failure ends the run.
fn refused(error: SdkError<SendMessageBatchError>) -> anyhow::Result<()> {
    let is_of_one = is_of_one_message(&error);
    let error = failed("SendMessageBatch")(error);
    if !is_of_one {
        return Err(error);
    }
    say(&format!("refused: {}", plain(&error.to_string())));
    Ok(())
}

/// Batches that SQS takes: few enough messages, and small enough together.
pub fn in_batches<'a>(messages: &[&'a Held]) -> Vec<Vec<&'a Held>> {
    let mut batches: Vec<Vec<&Held>> = Vec::new();
    let mut bytes = 0;
    for &held in messages {
        let more = held.bytes_back();
        match batches.last_mut() {
            Some(batch)
                if batch.len() < SQS_BATCH_MESSAGES_MAX
                    && bytes + more <= SQS_MESSAGE_BYTES_MAX =>
            {
                batch.push(held);
                bytes += more;
            }
            _ => {
                batches.push(vec![held]);
                bytes = more;
            }
        }
    }
    batches
}
