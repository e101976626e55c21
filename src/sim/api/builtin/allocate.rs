//! What the server allocates for a Service: its address and its node ports.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::sim::api::kinds::{KindName, Resource};
use crate::sim::api::object::{self, at, default_at};
use crate::sim::api::server::Server;

const SERVICES: KindName = KindName::of("", "services");

impl Server {
    /// Gives a new Service what it did not ask for by name.
    pub(crate) fn allocate(&self, resource: &Resource, new: &mut Value) {
        if resource.plural != "services" || !resource.group.is_empty() {
            return;
        }
        let kind =
            at(new, &["spec", "type"]).and_then(Value::as_str).unwrap_or_default().to_owned();
        if kind == "ExternalName" {
            return;
        }
        let given = at(new, &["spec", "clusterIP"]).and_then(Value::as_str).unwrap_or_default();
        let is_headless = given == "None";
        let address = if given.is_empty() { self.free_address() } else { given.to_owned() };
        default_at(new, &["spec", "clusterIPs"], json!([address]));
        object::set_at(new, &["spec", "clusterIP"], address.into());
        let selector = at(new, &["spec", "selector"]).and_then(Value::as_object);
        let (families, policy) = if is_headless && selector.is_none_or(serde_json::Map::is_empty) {
            // Whoever fills in its endpoints may have addresses of both families.
            (json!(["IPv4", "IPv6"]), "RequireDualStack")
        } else {
            (json!(["IPv4"]), "SingleStack")
        };
        default_at(new, &["spec", "ipFamilies"], families);
        default_at(new, &["spec", "ipFamilyPolicy"], policy);
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
            default_at(new, &["spec", "externalTrafficPolicy"], "Cluster");
            self.give_node_ports(new);
        }
        if kind == "LoadBalancer" {
            default_at(new, &["spec", "allocateLoadBalancerNodePorts"], true);
        }
    }

    fn services(&self) -> Vec<Arc<Value>> {
        self.objects(&SERVICES, "")
    }

    /// The lowest free address of 10.97.0.0/16 behind the first sixteen.
    fn free_address(&self) -> String {
        let number = |service: &Value| -> Option<u16> {
            let address: Ipv4Addr = at(service, &["spec", "clusterIP"])?.as_str()?.parse().ok()?;
            let [10, 97, high, low] = address.octets() else { return None };
            Some(u16::from_be_bytes([high, low]))
        };
        let taken: BTreeSet<u16> =
            self.services().iter().filter_map(|service| number(service)).collect();
        (16..u16::MAX)
            .find(|number| !taken.contains(number))
            .map(u16::to_be_bytes)
            .map_or_else(|| "None".to_owned(), |[high, low]| format!("10.97.{high}.{low}"))
    }

    fn give_node_ports(&self, new: &mut Value) {
        let ports = |service: &Value| -> Vec<i64> {
            let list = at(service, &["spec", "ports"]).and_then(Value::as_array);
            let list = list.into_iter().flatten();
            list.filter_map(|port| port.get("nodePort")?.as_i64()).collect()
        };
        let mut taken: Vec<i64> =
            self.services().iter().flat_map(|service| ports(service)).collect();
        taken.extend(ports(new));
        let mut free = (30_000..32_768).filter(move |port| !taken.contains(port));
        let list = new.get_mut("spec").and_then(|spec| spec.get_mut("ports"));
        for port in list.and_then(Value::as_array_mut).into_iter().flatten() {
            if port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) == 0
                && let Some(number) = free.next()
            {
                object::set_at(port, &["nodePort"], number.into());
            }
        }
    }
}
