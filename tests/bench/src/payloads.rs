//! Events of a subscription, as Lambda hands them over, with generated log lines of the kinds that
//! log groups really hold.

use base64_simd::STANDARD;
use fastrand::Rng;
use serde_json::json;

const EPOCH_MS: u64 = 1_795_000_000_000;
const PATHS: [&str; 6] = [
    "/api/v1/orders",
    "/api/v1/orders/search?q=blue+shoes&page=2",
    "/static/app.8f3c1d.js",
    "/healthz",
    "/api/v2/customers/me/basket",
    "/login",
];
const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15",
    "okhttp/4.12.0",
    "kube-probe/1.31",
];
const LEVELS: [&str; 4] = ["INFO", "INFO", "WARN", "ERROR"];
const FOREIGN: [&str; 4] = [
    "Заказ принят и передан на склад",
    "注文を受け付けました。発送までしばらくお待ちください",
    "Bestellung für Jürgen Groß über 12,50 € bestätigt",
    "pedido confirmado ✅ envío mañana 🚚",
];

/// An event body, and the length of the payload inside it.
pub struct EventBody {
    pub json: Vec<u8>,
    pub payload_bytes: usize,
}

/// `count` events with payloads of at least `payload_bytes`, the same for the same seed.
pub fn generate(
    seed: u64,
    count: usize,
    payload_bytes: usize,
) -> Result<Vec<EventBody>, serde_json::Error> {
    let mut rng = Rng::with_seed(seed);
    (0..count).map(|_| event_body(&mut rng, payload_bytes)).collect()
}

fn event_body(rng: &mut Rng, payload_bytes: usize) -> Result<EventBody, serde_json::Error> {
    let mut payload = serde_json::to_string(&json!({
        "messageType": "DATA_MESSAGE",
        "owner": "123456789012",
        "logGroup": "/ecs/shop-frontend-production",
        "logStream": format!("web/app/{:032x}", rng.u128(..)),
        "subscriptionFilters": ["sluice"],
    }))?;
    // Reopens the object for the events, which come last, as CloudWatch Logs has them.
    payload.truncate(payload.len() - 1);
    payload.push_str(",\"logEvents\":[");
    let mut timestamp_ms = EPOCH_MS + rng.u64(..86_400_000);
    loop {
        timestamp_ms += rng.u64(..20);
        let id = format!("38{:054}", rng.u128(..10u128.pow(38)));
        let event = json!({ "id": id, "timestamp": timestamp_ms, "message": message(rng) });
        payload.push_str(&serde_json::to_string(&event)?);
        if payload.len() + 2 >= payload_bytes {
            break;
        }
        payload.push(',');
    }
    payload.push_str("]}");
    let data = STANDARD.encode_to_string(sluice::gzip::compress(payload.as_bytes()));
    let json = serde_json::to_vec(&json!({ "awslogs": { "data": data } }))?;
    Ok(EventBody { json, payload_bytes: payload.len() })
}

/// 50 % access lines, 35 % JSON, 5 % stack traces, 10 % text beyond ASCII.
fn message(rng: &mut Rng) -> String {
    match rng.u32(..100) {
        0..50 => format!(
            "10.{}.{}.{} - - [21/Nov/2026:22:{:02}:{:02} +0000] \"GET {} HTTP/1.1\" {} {} \"-\" \
             \"{}\" {}.{:03}",
            rng.u8(..),
            rng.u8(..),
            rng.u8(..),
            rng.u8(..60),
            rng.u8(..60),
            PATHS[rng.usize(..PATHS.len())],
            [200, 200, 200, 304, 404, 500][rng.usize(..6)],
            rng.u32(..90_000),
            AGENTS[rng.usize(..AGENTS.len())],
            rng.u8(..3),
            rng.u32(..1_000),
        ),
        50..85 => json!({
            "level": LEVELS[rng.usize(..LEVELS.len())],
            "logger": "com.example.shop.checkout.BasketService",
            "requestId": format!("{:032x}", rng.u128(..)),
            "msg": format!("basket \"{}\" saved\tin {} ms", rng.u32(..), rng.u32(..400)),
            "user": { "id": rng.u32(..), "plan": "gold", "path": "C:\\shop\\data" },
        })
        .to_string(),
        85..90 => stack_trace(rng),
        _ => format!("{} №{}", FOREIGN[rng.usize(..FOREIGN.len())], rng.u32(..)),
    }
}

fn stack_trace(rng: &mut Rng) -> String {
    let mut trace =
        format!("java.lang.IllegalStateException: payment {:016x} was refused\n", rng.u64(..));
    for _ in 0..rng.u32(8..24) {
        trace.push_str(&format!(
            "\tat com.example.shop.payment.Gateway$Retry.lambda$call${}(Gateway.java:{})\n",
            rng.u32(..9),
            rng.u32(..900),
        ));
    }
    trace
}
