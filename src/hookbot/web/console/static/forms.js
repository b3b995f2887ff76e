/** Form bodies, taken apart: urlencoded ones into fields, multipart ones into parts. */

const MAX_FIELDS = 500;

/** Names and values of an urlencoded form, in order. */
export function readForm(text) {
  return [...new URLSearchParams(text)].slice(0, MAX_FIELDS);
}

/** Parts of a multipart body: `{name, filename, type, content}`, with the bytes of each; null if it has no boundary. */
export function readMultipart(contentType, bytes) {
  const boundary = /boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(contentType);
  if (!boundary) return null;
  // One character for each byte, so that positions are the same.
  const text = new TextDecoder("latin1").decode(bytes);
  const delimiter = `--${boundary[1] ?? boundary[2]}`;
  const parts = [];
  for (let start = text.indexOf(delimiter); start >= 0 && parts.length < MAX_FIELDS; ) {
    start += delimiter.length;
    const end = text.indexOf(delimiter, start);
    const head = text.indexOf("\r\n\r\n", start);
    if (text.startsWith("--", start) || head < 0 || (end >= 0 && head > end)) break;
    parts.push(readPart(utf8(bytes.subarray(start, head)), bytes.subarray(head + 4, end < 0 ? bytes.length : end - 2)));
    start = end;
  }
  return parts;
}

function readPart(head, content) {
  const parameter = (name) => new RegExp(`;\\s*${name}="([^"]*)"`, "i").exec(head)?.[1];
  const type = /^content-type:\s*(.+)$/im.exec(head)?.[1].trim() ?? "";
  return { name: parameter("name") ?? "", filename: parameter("filename"), type, content };
}

const utf8 = (bytes) => new TextDecoder().decode(bytes);
