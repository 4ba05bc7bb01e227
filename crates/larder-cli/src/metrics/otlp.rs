//! OTLP over HTTP: all metrics as one protobuf message, posted to a collector.
//!
//! Counters and histograms go as they stand since the process began, so a message that is lost loses nothing.
//! Not here: TLS. A collector stands beside what it collects from, and it is that which speaks to the outside.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::net::TcpStream;

use super::registry::{Family, Kind, Labels, Value};

/// Where metrics go below an endpoint that is only a host.
const PATH: &str = "/v1/metrics";
/// How long a collector may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A collector, and since when is counted.
#[derive(Debug)]
pub(crate) struct Collector {
    url: Uri,
    host: String,
    began: SystemTime,
    /// Which server of several this is.
    instance: String,
}

/// The text is not the URL of a collector.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no URL of a collector")]
pub(crate) struct NotACollector(String);

impl Collector {
    /// The collector at `http://HOST:PORT`, or at a URL with a path, which then is taken as it is.
    pub(crate) fn at(url: &str) -> Result<Self, NotACollector> {
        let wrong = || NotACollector(url.to_owned());
        let parsed: Uri = url.parse().map_err(|_| wrong())?;
        let host = parsed.host().filter(|_| parsed.scheme_str() == Some("http")).ok_or_else(wrong)?;
        let host = format!("{host}:{}", parsed.port_u16().unwrap_or(4318));
        let path = if parsed.path() == "/" { PATH } else { parsed.path() };
        let url = path.parse().map_err(|_| wrong())?;
        Ok(Self { url, host, began: SystemTime::now(), instance: String::new() })
    }

    /// The same for the server at `address`.
    pub(crate) fn telling_of(self, address: SocketAddr) -> Self {
        Self { instance: address.to_string(), ..self }
    }

    /// Posts all metrics as they stand.
    pub(crate) async fn send(&self, families: &[Family]) -> anyhow::Result<()> {
        let message = self.message(families, nanoseconds(SystemTime::now()));
        tokio::time::timeout(LIMIT, self.post(message.encode_to_vec())).await?
    }

    async fn post(&self, body: Vec<u8>) -> anyhow::Result<()> {
        let stream = TcpStream::connect(&self.host).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::post(self.url.clone())
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(Bytes::from(body)))?;
        let asking = async {
            let response = sender.send_request(request).await?;
            drop(sender);
            anyhow::ensure!(response.status().is_success(), "it answers {}", response.status());
            Ok(())
        };
        tokio::pin!(asking, connection);
        tokio::select! {
            outcome = &mut asking => outcome,
            // Nothing comes on a connection that has ended.
            ended = &mut connection => { ended?; asking.await }
        }
    }

    fn message(&self, families: &[Family], now: u64) -> ExportMetricsServiceRequest {
        let began = nanoseconds(self.began);
        let metrics = families.iter().map(|family| metric(family, began, now)).collect();
        let scope = InstrumentationScope {
            name: "larder".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let resource = Resource {
            attributes: vec![
                attribute("service.name", "larder"),
                attribute("service.instance.id", &self.instance),
            ],
            ..Resource::default()
        };
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource),
                scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }],
                ..ResourceMetrics::default()
            }],
        }
    }
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn metric(family: &Family, began: u64, now: u64) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative as i32;
    let numbers = || {
        let number = |(labels, value): &(Labels, Value)| match value {
            Value::Histogram { .. } => None,
            Value::Number(number) => Some(NumberDataPoint {
                attributes: attributes(labels),
                start_time_unix_nano: began,
                time_unix_nano: now,
                value: Some(number_data_point::Value::AsDouble(*number)),
                ..NumberDataPoint::default()
            }),
        };
        family.series.iter().filter_map(number).collect()
    };
    let data = match family.kind {
        Kind::Counter => {
            Data::Sum(Sum { data_points: numbers(), aggregation_temporality, is_monotonic: true })
        }
        Kind::Gauge => Data::Gauge(Gauge { data_points: numbers() }),
        Kind::Histogram => {
            let points = family.series.iter().filter_map(|(labels, value)| point(labels, value, began, now));
            Data::Histogram(Histogram { data_points: points.collect(), aggregation_temporality })
        }
    };
    let unit = if family.name.contains("_seconds") {
        "s"
    } else if family.name.contains("_bytes") {
        "By"
    } else {
        "1"
    };
    Metric {
        name: family.name.clone(),
        description: family.help.clone(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn point(labels: &Labels, value: &Value, began: u64, now: u64) -> Option<HistogramDataPoint> {
    let Value::Histogram { bounds, buckets } = value else { return None };
    Some(HistogramDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: began,
        time_unix_nano: now,
        count: buckets.iter().map(|bucket| bucket.count).sum(),
        sum: Some(buckets.iter().map(|bucket| bucket.sum).sum()),
        bucket_counts: buckets.iter().map(|bucket| bucket.count).collect(),
        explicit_bounds: bounds.to_vec(),
        ..HistogramDataPoint::default()
    })
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}
