//! Answers by key, each of which may change while streams of it are open.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll},
};
use tokio::sync::{mpsc, watch};
use tonic::{Code, Status, codegen::tokio_stream::Stream};

pub type Answer<V> = Result<V, Code>;

pub struct Topic<K, V> {
    default: Answer<V>,
    answers: Mutex<HashMap<K, watch::Sender<Answer<V>>>>,
}

impl<K: Eq + Hash, V: Clone + Send + Sync + 'static> Topic<K, V> {
    pub fn new(default: Answer<V>) -> Self {
        Self { default, answers: Mutex::default() }
    }

    pub fn set(&self, key: K, answer: Answer<V>) {
        let _ = self.sender(key).send_replace(answer);
    }

    fn sender(&self, key: K) -> watch::Sender<Answer<V>> {
        let mut answers = self.answers.lock().unwrap();
        answers.entry(key).or_insert_with(|| watch::Sender::new(self.default.clone())).clone()
    }

    /// What is known now and then every change, as `messages` writes it. A status ends the stream.
    pub fn watch<M: Send + 'static>(
        &self,
        key: K,
        mut messages: impl FnMut(V) -> Vec<M> + Send + 'static,
    ) -> Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>> {
        let mut answers = self.sender(key).subscribe();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let answer = answers.borrow_and_update().clone();
                let mut messages: VecDeque<_> = match answer {
                    Ok(value) => messages(value).into_iter().map(Ok).collect(),
                    Err(code) => [Err(Status::new(code, "as the test says"))].into(),
                };
                while let Some(message) = messages.pop_front() {
                    let is_end = message.is_err();
                    if sender.send(message).await.is_err() || is_end {
                        return;
                    }
                }
                tokio::select! {
                    changed = answers.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        Box::pin(Received(receiver))
    }
}

struct Received<T>(mpsc::Receiver<T>);

impl<T> Stream for Received<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}
