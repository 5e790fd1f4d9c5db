"""A small Hugging Face Hub on this machine, as far as pushing and loading models goes.

It speaks the HTTP interface that huggingface_hub's real client uses: repositories, preupload, Git LFS,
commits, branches, trees, resolve with ETags and redirects to storage, authorisation. Everything is kept
in memory. `Hub.fault` makes it fail on purpose.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LARGE = 10_000  # bytes from which a file goes to LFS
OWNER, READER = "hf_owner_token", "hf_reader_token"  # may write; may see what is public


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def card_errors(content: str) -> list[str]:
    """What the Hub's documentation asks of a card's metadata, as far as it is written down there."""
    if not content.startswith("---\n"):
        return ["the metadata block is missing"]
    try:
        data = yaml.safe_load(content.split("---\n")[1])
    except yaml.YAMLError as error:
        return [str(error)]
    errors = [
        f"{name} must be a string"
        for name in ("license", "library_name", "pipeline_tag")
        if name in data and not isinstance(data[name], str)
    ]
    for model in data.get("model-index", []):
        if not isinstance(model.get("name"), str):
            errors.append("model-index needs a name")
        for result in model.get("results", []):
            for part, fields in (("task", ("type",)), ("dataset", ("type", "name"))):
                errors += [
                    f"model-index needs {part}.{field}"
                    for field in fields
                    if not isinstance(result.get(part, {}).get(field), str)
                ]
            for metric in result.get("metrics", []):
                if not isinstance(metric.get("type"), str) or not isinstance(metric.get("value"), (int, float)):
                    errors.append("a metric needs a type and a value")
    return errors


class Repository:
    """Branches of commits; a commit is the files at that moment, path -> content."""

    def __init__(self, private: bool) -> None:
        self.private = private
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        self.messages: list[str] = []
        self.branches["main"] = self.add({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")

    def add(self, files: dict[str, bytes], message: str) -> str:
        self.messages.append(message)
        name = hashlib.sha1(f"{len(self.commits)} {message} {sorted(files)}".encode()).hexdigest()
        self.commits[name] = files
        return name

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = self.branches.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None


class Hub:
    """What the server knows. `fault` is None, "truncated", "wrong bytes", "down", "rejected" or "storage full"."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.fault: str | None = None
        self.requests: list[str] = []
        self.endpoint = ""
        self.storage = ""


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def answer(
        self, value: object = None, status: int = 200, headers: dict | None = None, content: bytes | None = None
    ) -> None:
        body = json.dumps(value).encode() if content is None else content
        self.send_response(status)
        for name, text in ({"Content-Type": "application/json", "Content-Length": len(body)} | (headers or {})).items():
            self.send_header(name, str(text))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str | None = None, message: str = "no") -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.answer({"error": message}, status, headers)

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        split = urlsplit(self.path)
        self.query = parse_qs(split.query)
        parts = [unquote(part) for part in split.path.strip("/").split("/")]
        self.hub.requests.append(f"{self.command} {split.path}")
        if self.hub.fault == "down":
            self.refuse(500, message="Internal error")
        else:
            self.route(parts)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def route(self, parts: list[str]) -> None:
        match parts:
            case ["api", "repos", "create"]:
                self.create(json.loads(self.body))
            case ["api", "validate-yaml"]:
                errors = card_errors(json.loads(self.body)["content"])
                listed = [{"message": error} for error in errors]
                self.answer({"errors": listed, "warnings": []}, 400 if errors else 200)
            case ["storage", oid] if self.command == "PUT":
                if hashlib.sha256(self.body).hexdigest() == oid and self.hub.fault != "storage full":
                    self.hub.large[oid] = self.body
                    self.answer({})
                else:
                    self.refuse(400, message="not stored")
            case ["storage", oid]:
                self.send_content(self.hub.large[oid])
            case ["api", "models", user, name, *rest]:
                self.with_repository(f"{user}/{name}", lambda repository: self.api(f"{user}/{name}", repository, rest))
            case [user, name, "info", "lfs", "objects", "batch"] if name.endswith(".git"):
                self.with_repository(f"{user}/{name.removesuffix('.git')}", self.lfs_batch)
            case [user, name, "resolve", revision, *path]:
                self.with_repository(
                    f"{user}/{name}", lambda repository: self.resolve(repository, revision, "/".join(path))
                )
            case _:
                self.refuse(404, message=f"this server does not know {self.path}")

    def with_repository(self, repo_id: str, then) -> None:
        repository = self.hub.repositories.get(repo_id)
        if repository is None or (repository.private and self.token != OWNER):
            self.refuse(404 if self.token else 401, "RepoNotFound", "Repository not found")
        else:
            then(repository)

    def may_write(self) -> bool:
        if self.token == OWNER:
            return True
        if self.token:
            self.refuse(403, message="you don't have the rights to write here")
        else:
            self.refuse(401, message="Invalid username or password.")
        return False

    def create(self, wanted: dict) -> None:
        if not self.may_write():
            return
        repo_id = f"{wanted.get('organization') or 'owner'}/{wanted['name']}"
        known = repo_id in self.hub.repositories
        if not known:
            private = wanted.get("visibility") == "private" or wanted.get("private", False)
            self.hub.repositories[repo_id] = Repository(private)
        url = f"{self.hub.endpoint}/{repo_id}"
        self.answer({"url": url, "name": repo_id, "id": repo_id}, 409 if known else 200)

    def api(self, repo_id: str, repository: Repository, rest: list[str]) -> None:
        match rest:
            case ["preupload", _]:
                files = json.loads(self.body)["files"]
                modes = [
                    {"path": f["path"], "uploadMode": "lfs" if f["size"] > LARGE else "regular", "shouldIgnore": False}
                    for f in files
                ]
                self.answer({"files": modes})
            case ["commit", branch]:
                self.commit(repo_id, repository, branch)
            case ["branch", branch]:
                if self.may_write():
                    known = branch in repository.branches
                    repository.branches.setdefault(branch, repository.branches["main"])
                    self.answer({}, 409 if known else 200)
            case [] | ["revision", _]:
                self.with_revision(repository, rest[1] if rest else "main", lambda commit, files: self.answer(
                    {"id": repo_id, "sha": commit, "private": repository.private,
                     "siblings": [{"rfilename": path} for path in files]}
                ))  # fmt: skip
            case ["tree", revision, *_]:
                self.with_revision(repository, revision, lambda _, files: self.answer(
                    [self.entry(path, content) for path, content in files.items()]
                ))  # fmt: skip
            case _:
                self.refuse(404, message=f"this server does not know {self.path}")

    @staticmethod
    def entry(path: str, content: bytes) -> dict:
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
        if len(content) > LARGE:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry

    def with_revision(self, repository: Repository, revision: str, then) -> None:
        found = repository.at(revision)
        if found is None:
            self.refuse(404, "RevisionNotFound", "Revision not found")
        else:
            then(*found)

    def lfs_batch(self, _: Repository) -> None:
        if not self.may_write():
            return
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            upload = {"href": f"{self.hub.storage}/{wanted['oid']}"}
            actions = {} if wanted["oid"] in self.hub.large else {"actions": {"upload": upload}}
            objects.append(wanted | actions)
        self.answer({"transfer": "basic", "objects": objects})

    def commit(self, repo_id: str, repository: Repository, branch: str) -> None:
        if not self.may_write():
            return
        if self.hub.fault == "rejected":
            self.refuse(400, message="this commit is rejected")
            return
        lines = [json.loads(line) for line in self.body.splitlines()]
        files = dict(repository.commits[repository.branches[branch]])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
        commit = repository.add(files, lines[0]["value"]["summary"])
        repository.branches[branch] = commit
        self.answer({"commitUrl": f"{self.hub.endpoint}/{repo_id}/commit/{commit}", "commitOid": commit})

    def resolve(self, repository: Repository, revision: str, path: str) -> None:
        def send(commit: str, files: dict[str, bytes]) -> None:
            if path not in files:
                self.refuse(404, "EntryNotFound", "Entry not found")
                return
            content = files[path]
            headers = {"X-Repo-Commit": commit, "ETag": f'"{git_id(content)}"', "Accept-Ranges": "bytes"}
            if len(content) > LARGE:
                oid = hashlib.sha256(content).hexdigest()
                location = f"{self.hub.storage}/{oid}"
                linked = {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": len(content), "Location": location}
                self.answer(None, 302, headers | linked, b"")
            else:
                self.send_content(content, headers)

        self.with_revision(repository, revision, send)

    def send_content(self, content: bytes, headers: dict | None = None) -> None:
        large = len(content) > LARGE
        if self.hub.fault == "wrong bytes" and large:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.hub.fault == "truncated" and large and self.command == "GET":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.answer(headers=headers, content=content)


@contextmanager
def local_hub() -> Iterator[Hub]:
    """A hub that listens on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    port = server.server_address[1]
    hub.endpoint = f"http://127.0.0.1:{port}"
    hub.storage = f"http://localhost:{port}/storage"  # by another name: the client takes it for another host
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
