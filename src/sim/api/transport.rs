//! The server as a tower service, and watches as streams of bytes. All waiting is tokio's, so it
//! runs with paused time; faults come from [`super::Interference`].

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::Stream;
use http::{Method, Request as HttpRequest, Response as HttpResponse, header};
use serde_json::Value;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::cluster::{Cluster, WatchId};
use super::failure::Failure;
use super::interference::{Effect, EventFate, Reply, RequestFacts, RequestFate};
use super::request::{Identity, Request, Response, Verb};
use super::watch::WatchPlan;

/// How long a watch lasts whose client names no time.
const WATCH_DURATION: Duration = Duration::from_mins(40);
/// How often a watch that allows bookmarks gets one.
const BOOKMARK_PERIOD: Duration = Duration::from_mins(1);

/// Carries out one HTTP request as `identity`.
pub(crate) async fn serve(
    cluster: Cluster,
    identity: Identity,
    request: HttpRequest<Body>,
) -> Result<HttpResponse<Body>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
    let arrived = Arrived { cluster, identity, parts, body };
    let fate = arrived.fate();
    if fate.is_on_the_wire {
        // The client may die now; what it sent goes its own way.
        let task = tokio::spawn(arrived.meet(fate));
        return task.await.map_err(io::Error::other)?;
    }
    arrived.meet(fate).await
}

/// A request that has left its client.
struct Arrived {
    cluster: Cluster,
    identity: Identity,
    parts: http::request::Parts,
    body: Bytes,
}

impl Arrived {
    fn header(&self, name: header::HeaderName) -> &str {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn fate(&self) -> RequestFate {
        let number = self.cluster.lock().next_request();
        let query = self.parts.uri.query().unwrap_or_default();
        let is_watch = query.split('&').any(|pair| matches!(pair, "watch=1" | "watch=true"));
        let verb = match self.parts.method {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ if is_watch => Verb::Watch,
            _ => Verb::Get,
        };
        self.cluster.shared.interference.request(&RequestFacts {
            number,
            identity: &self.identity,
            user_agent: self.header(header::USER_AGENT),
            verb,
            path: self.parts.uri.path(),
        })
    }

    async fn meet(self, fate: RequestFate) -> Result<HttpResponse<Body>, io::Error> {
        pause(fate.before).await;
        let answer = match fate.effect {
            Effect::CarriedOut => Some(self.carry_out()),
            Effect::Dropped => None,
            Effect::Refused(failure) => Some(refused(&failure)),
            Effect::CarriedOutBut(failure) => {
                drop(self.carry_out());
                Some(refused(&failure))
            }
        };
        pause(fate.after).await;
        match (fate.reply, answer) {
            (Reply::Arrives, Some(answer)) => Ok(answer),
            (Reply::Broken, _) => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            (Reply::Arrives, None) | (Reply::Lost, _) => std::future::pending().await,
        }
    }

    fn carry_out(&self) -> HttpResponse<Body> {
        let now = self.cluster.shared.clock.now();
        let request = Request {
            method: &self.parts.method,
            path: self.parts.uri.path(),
            query: self.parts.uri.query().unwrap_or_default(),
            content_type: self.header(header::CONTENT_TYPE),
            accept: self.header(header::ACCEPT),
            user_agent: self.header(header::USER_AGENT),
            body: &self.body,
            identity: &self.identity,
            now,
        };
        match self.cluster.change(|state| state.server.handle(&request)) {
            Response::Json { code, body, warnings } => json_answer(code, &body, &warnings),
            Response::Typed { content_type, body } => {
                answer(200, content_type, body.to_string().into())
            }
            Response::Text { code, body } => answer(code, "text/plain; charset=utf-8", body.into()),
            Response::Watch(plan) => {
                let stream = WatchStream::open(&self.cluster, &self.identity, plan);
                answer(200, "application/json", Body::from_stream(stream))
            }
        }
    }
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

fn answer(code: u16, content_type: &'static str, body: Body) -> HttpResponse<Body> {
    let mut response = HttpResponse::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    let content_type = header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

fn json_answer(code: u16, body: &Value, warnings: &[String]) -> HttpResponse<Body> {
    let mut response = answer(code, "application/json", body.to_string().into());
    for warning in warnings {
        let text = format!("299 - {warning:?}");
        if let Ok(value) = header::HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    let retry = body.pointer("/details/retryAfterSeconds").and_then(Value::as_u64);
    if let Some(seconds) = retry.filter(|_| code == 429 || code >= 500) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

pub(crate) fn refused(failure: &Failure) -> HttpResponse<Body> {
    json_answer(failure.code, &failure.to_status(), &[])
}

/// A watch as its client sees it: lines of JSON.
struct WatchStream {
    cluster: Cluster,
    id: WatchId,
    plan: WatchPlan,
    ends: Pin<Box<Sleep>>,
    next_bookmark: Pin<Box<Sleep>>,
    /// Lines that are due, each not before its time.
    queue: VecDeque<(Instant, Bytes)>,
    queue_timer: Pin<Box<Sleep>>,
    /// Nothing comes after the queue.
    is_over: bool,
}

impl WatchStream {
    fn open(cluster: &Cluster, identity: &Identity, plan: WatchPlan) -> Self {
        let id = cluster.lock().open_watch(identity.clone(), &plan.resource().plural);
        let duration = plan.timeout_seconds.map_or(WATCH_DURATION, Duration::from_secs);
        Self {
            cluster: cluster.clone(),
            id,
            plan,
            ends: Box::pin(sleep(duration)),
            next_bookmark: Box::pin(sleep(BOOKMARK_PERIOD)),
            queue: VecDeque::new(),
            queue_timer: Box::pin(sleep(Duration::ZERO)),
            is_over: false,
        }
    }

    /// Takes over what happened since the last time.
    fn fetch(&mut self) {
        let events = {
            let state = self.cluster.lock();
            if state.is_cut(self.id) {
                self.is_over = true;
                self.queue.clear();
                return;
            }
            let now = self.cluster.shared.clock.now();
            state.server.poll_watch(&mut self.plan, now)
        };
        let interference = Arc::clone(&self.cluster.shared.interference);
        for event in events {
            let mut due = self.queue.back().map_or_else(Instant::now, |(due, _)| *due);
            if let Some(entry) = &event.entry {
                match interference.event(self.id, entry) {
                    EventFate::Arrives => {}
                    EventFate::Late(by) => due = due.max(Instant::now() + by),
                    EventFate::Lost => continue,
                    EventFate::Cut => {
                        self.is_over = true;
                        return;
                    }
                }
            }
            self.queue.push_back((due, line(&event.json)));
            if event.is_last {
                self.is_over = true;
                return;
            }
        }
    }
}

fn line(json: &Value) -> Bytes {
    let mut text = json.to_string();
    text.push('\n');
    text.into()
}

impl Stream for WatchStream {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if !this.is_over {
            this.fetch();
        }
        if let Some((due, _)) = this.queue.front() {
            if *due <= Instant::now() {
                return Poll::Ready(this.queue.pop_front().map(|(_, line)| Ok(line)));
            }
            this.queue_timer = Box::pin(sleep_until(*due));
            if this.queue_timer.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
        } else if this.is_over {
            return Poll::Ready(None);
        }
        if this.ends.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        if this.plan.allows_bookmarks && this.next_bookmark.as_mut().poll(context).is_ready() {
            this.next_bookmark = Box::pin(sleep(BOOKMARK_PERIOD));
            let _ = this.next_bookmark.as_mut().poll(context);
            if this.queue.is_empty() {
                let bookmark = this.cluster.lock().server.bookmark(&this.plan);
                return Poll::Ready(Some(Ok(line(&bookmark.json))));
            }
        }
        this.cluster.lock().wait(this.id.0, context.waker());
        Poll::Pending
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.cluster.lock().close_watch(self.id);
    }
}
