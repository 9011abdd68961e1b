// A client in another language: it knows nothing but the .proto files and docs/api.md.
//
//   node client.js '{"target": ..., "includes": [...], "token": ..., "ca": ..., "photo": ..., "mesh": ..., "items": 5}'
//
// Calls the methods of ContactService and prints what it understood as one JSON document.
"use strict";

const crypto = require("crypto");
const fs = require("fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const settings = JSON.parse(process.argv[2]);
const definition = loader.loadSync(
  ["interactvlm/v1/contact_service.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"],
  { includeDirs: settings.includes, longs: Number, enums: String, defaults: true, oneofs: true },
);
const api = grpc.loadPackageDefinition(definition);
const credentials = settings.ca
  ? grpc.credentials.createSsl(fs.readFileSync(settings.ca))
  : grpc.credentials.createInsecure();
const client = new api.interactvlm.v1.ContactService(settings.target, credentials, {
  "grpc.max_receive_message_length": 64 << 20,
});
const options = () => ({ deadline: Date.now() + 120_000 });

function metadata() {
  const found = new grpc.Metadata();
  if (settings.token) found.set("authorization", `Bearer ${settings.token}`);
  return found;
}

const finished = (start) =>
  new Promise((resolve, reject) => start((error, answer) => (error ? reject(error) : resolve(answer))));
const unary = (method, request) => finished((done) => client[method](request, metadata(), options(), done));

function uploadMesh(file, fileType) {
  return finished((done) => {
    const call = client.uploadMesh(metadata(), options(), done);
    const data = fs.readFileSync(file);
    for (let start = 0; start < data.length; start += 1 << 20) {
      call.write({ fileType: start ? "" : fileType, chunk: data.subarray(start, start + (1 << 20)) });
    }
    call.end();
  });
}

// Items go out as places become free: at most what the server announces in its initial metadata.
function predictStream(requests) {
  return new Promise((resolve, reject) => {
    const call = client.predictStream(metadata(), options());
    const outcomes = {};
    let sent = 0;
    let limit = 1;
    const send = () => {
      while (sent < requests.length && sent - Object.keys(outcomes).length < limit) {
        call.write({ itemId: `item-${sent}`, request: requests[sent] });
        sent += 1;
      }
      if (sent === requests.length) call.end();
    };
    call.on("metadata", (headers) => {
      limit = Number(headers.get("interactvlm-max-in-flight")[0]);
      send();
    });
    call.on("data", (item) => {
      outcomes[item.itemId] = item.outcome === "error" ? explained(item.error) : { text: item.response.results[0].text };
      send();
    });
    call.on("error", reject);
    call.on("end", () => resolve({ limit, outcomes }));
  });
}

function explained(status) {
  const details = status.details.map(({ type_url: name, value }) => [name.split("/").pop(), value]);
  const info = details.find(([name]) => name === "google.rpc.ErrorInfo");
  const reason = info ? definition[info[0]].deserialize(info[1]).reason : "";
  return { code: status.code, message: status.message, reason };
}

function explainedError(error) {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  return explained(definition["google.rpc.Status"].deserialize(bytes));
}

const elementBytes = { ELEMENT_TYPE_FLOAT32: 4, ELEMENT_TYPE_FLOAT16: 2, ELEMENT_TYPE_INT32: 4, ELEMENT_TYPE_UINT8: 1 };

function shapeOf(tensor) {
  const count = tensor.shape.reduce((product, extent) => product * extent, 1);
  if (tensor.data.length !== count * elementBytes[tensor.elementType]) throw new Error("a tensor's length is wrong");
  return tensor.shape;
}

function understood(result) {
  const { vertexIds, scores } = result.contact;
  const vertices = [];
  for (let offset = 0; offset < vertexIds.length; offset += 4) {
    vertices.push([vertexIds.readUInt32LE(offset), scores.readFloatLE(offset)]);
  }
  const { task, objectName, surface, vertexCount, text, partsTouched } = result;
  return { task, objectName, surface, vertexCount, text, partsTouched, vertices };
}

async function main() {
  const photo = fs.readFileSync(settings.photo);
  const info = await unary("getServerInfo", {});
  const body = await unary("getBody", {});
  const mesh = await uploadMesh(settings.mesh, "ply");
  const known = await unary("getMesh", { name: mesh.name });
  const objects = [{ name: "cup", meshSha256: mesh.sha256 }];
  const requestId = crypto.randomUUID();
  const answer = await unary("predict", { requestId, photo, person: { wholePhoto: true }, objects });
  const refusal = await unary("predict", { photo: Buffer.from("no photo") }).then(
    () => null,
    (error) => explainedError(error),
  );
  const requests = Array.from({ length: settings.items }, () => ({ photo, objects: [{ name: "cup" }] }));
  requests.push({ photo: Buffer.from("no photo"), objects: [{ name: "bad" }] });
  const stream = await predictStream(requests);
  await unary("deleteMesh", { name: mesh.name });
  client.close();
  const results = answer.results.map(understood);
  process.stdout.write(
    JSON.stringify({
      version: info.version,
      body: { topology: body.topology, vertices: shapeOf(body.vertices), parts: body.partNames.length },
      mesh: { sha256: known.sha256, vertexCount: mesh.vertexCount },
      model: answer.model.name,
      results,
      refusal,
      stream,
    }),
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
