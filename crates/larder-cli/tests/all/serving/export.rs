//! Metrics that are sent: to a DogStatsD agent, and to an OpenTelemetry collector.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, number_data_point};
use prost::Message as _;

use super::Server;
use super::server::{LIMIT, content, wait_until};
use crate::lab::Lab;

/// One line of a datagram.
#[derive(Debug)]
struct Sample {
    name: String,
    value: f64,
    sort: String,
    rate: f64,
    tags: BTreeMap<String, String>,
}

fn sample(line: &str) -> Sample {
    let (name, rest) = line.split_once(':').unwrap();
    let mut fields = rest.split('|');
    let value = fields.next().unwrap().parse().unwrap();
    let sort = fields.next().unwrap().to_owned();
    let (mut rate, mut tags) = (1.0, BTreeMap::new());
    for field in fields {
        match field.split_at(1) {
            ("@", number) => rate = number.parse().unwrap(),
            ("#", list) => {
                let pair =
                    |tag: &str| tag.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
                tags = list.split(',').map(|tag| pair(tag).unwrap()).collect();
            }
            other => panic!("{other:?} in {line}"),
        }
    }
    Sample { name: name.to_owned(), value, sort, rate, tags }
}

/// Puts contents and takes them, as many as are said.
fn traffic(server: &Server, count: u64) {
    for number in 0..count {
        let (bytes, digest) = content(number, 2000);
        server.put(&format!("/cas/{digest}"), &bytes);
        assert_eq!(server.get(&format!("/cas/{digest}")).body, bytes);
    }
}

#[test]
fn a_statsd_agent_gets_what_came_since_the_last_time_and_nothing_twice() {
    let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
    agent.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let lab = Lab::new();
    let address = agent.local_addr().unwrap().to_string();
    let mut server = Server::start(&lab, &["--statsd", &address, "--export-every", "1"]);
    let mut samples: Vec<Sample> = Vec::new();
    let mut datagram = vec![0; 65_536];
    let mut receive = |samples: &mut Vec<Sample>| {
        while let Ok(length) = agent.recv(&mut datagram) {
            assert!(length <= 1432);
            let text = std::str::from_utf8(&datagram[..length]).unwrap();
            samples.extend(text.lines().map(sample));
        }
    };
    traffic(&server, 10);
    let puts = |samples: &[Sample]| {
        let of = |sample: &&Sample| {
            sample.name == "larder_server_requests_total"
                && sample.tags.get("operation").is_some_and(|operation| operation == "put")
        };
        samples.iter().filter(of).map(|sample| sample.value).sum::<f64>()
    };
    wait_until("what was counted is sent", || {
        receive(&mut samples);
        (puts(&samples) >= 10.0).then_some(())
    });
    traffic(&server, 5);
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait().success(), "what was not sent yet goes at the end");
    receive(&mut samples);
    assert_eq!(puts(&samples), 15.0);
    let requests = samples.iter().filter(|sample| sample.name == "larder_server_request_seconds");
    let requests: Vec<_> = requests.collect();
    assert!(requests.iter().all(|sample| sample.sort == "d" && sample.tags["protocol"] == "bazel"));
    let counted: f64 = requests.iter().map(|sample| 1.0 / sample.rate).sum();
    assert_eq!(counted.round(), 30.0);
    assert!(requests.iter().all(|sample| sample.value > 0.0 && sample.value < LIMIT.as_secs_f64()));
    let up = samples.iter().find(|sample| sample.name == "larder_tier_up" && sample.tags["tier"] == "disk");
    assert_eq!(up.map(|sample| (&*sample.sort, sample.value)), Some(("g", 1.0)));
}

#[test]
fn a_collector_gets_all_metrics_as_they_stand_as_protobuf_over_http() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let lab = Lab::new();
    let url = format!("http://{}", collector.local_addr().unwrap());
    let server = Server::start(&lab, &["--otlp", &url, "--export-every", "1"]);
    traffic(&server, 10);
    let message = wait_until("what was counted is posted", || {
        let message = receive(collector.accept().unwrap().0);
        let found = find(&message, "larder_server_requests_total").is_some_and(|metric| {
            let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
            assert!(sum.is_monotonic);
            assert_eq!(sum.aggregation_temporality, AggregationTemporality::Cumulative as i32);
            let values = sum.data_points.iter().map(|point| match point.value {
                Some(number_data_point::Value::AsDouble(value)) => value,
                other => panic!("{other:?}"),
            });
            values.sum::<f64>() >= 20.0
        });
        // The engine's own come once a second.
        (found && find(&message, "larder_value_bytes").is_some()).then_some(message)
    });
    let Some(Data::Histogram(times)) = &find(&message, "larder_server_request_seconds").unwrap().data else {
        panic!("not a histogram");
    };
    for point in &times.data_points {
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        assert!(point.count == 10 && point.sum.unwrap() > 0.0, "{point:?}");
        assert!(point.start_time_unix_nano < point.time_unix_nano);
    }
    assert_eq!(times.data_points.len(), 2);
    let up = find(&message, "larder_tier_up").unwrap();
    let Some(Data::Gauge(_)) = &up.data else { panic!("{up:?}") };
    assert_eq!(find(&message, "larder_value_bytes").map(|metric| &*metric.unit), Some("By"));
    let resource = message.resource_metrics[0].resource.as_ref().unwrap();
    let named = resource.attributes.iter().map(|attribute| {
        let Some(any_value::Value::StringValue(value)) = &attribute.value.as_ref().unwrap().value else {
            panic!("{attribute:?}");
        };
        format!("{}={value}", attribute.key)
    });
    let expected = ["service.name=larder".to_owned(), format!("service.instance.id={}", server.address)];
    assert_eq!(named.collect::<Vec<_>>(), expected);
}

#[test]
fn a_collector_that_is_not_there_holds_nothing_up_and_what_is_no_url_is_refused() {
    let lab = Lab::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = Server::start(&lab, &["--otlp", &format!("http://{gone}"), "--export-every", "1"]);
    traffic(&server, 3);
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait().success());
    let refused = lab.run(&["serve", "--listen", "127.0.0.1:0", "--otlp", "https://collector"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("\"https://collector\" is no URL of a collector"), "{said}");
}

fn find<'a>(message: &'a ExportMetricsServiceRequest, name: &str) -> Option<&'a Metric> {
    message.resource_metrics[0].scope_metrics[0].metrics.iter().find(|metric| metric.name == name)
}

/// Takes one message, and says that it is taken.
fn receive(mut stream: TcpStream) -> ExportMetricsServiceRequest {
    let mut came = Vec::new();
    let mut buffer = [0; 16 << 10];
    let end = loop {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "it breaks off");
        came.extend_from_slice(&buffer[..read]);
        if let Some(end) = came.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8(came[..end].to_vec()).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("post /v1/metrics http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = came[end + 4..].to_vec();
    let begun = body.len();
    body.resize(length.parse().unwrap(), 0);
    stream.read_exact(&mut body[begun..]).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    ExportMetricsServiceRequest::decode(&*body).unwrap()
}
