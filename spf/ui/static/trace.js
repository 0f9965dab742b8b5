/* Holds the maps of the last run for the whole page: one packed blob, unpacked once, whichever tab
   is open. */
const { unzip, npy, zip } = window.SPF;
let latest = 0;
async function update(value) {
  const mine = ++latest,
    blob = value?.blob ? await unzip(value.blob) : null;
  if (mine !== latest) return; // a newer value arrived meanwhile
  window.SPF.trace = blob && { data: value, blob };
  /* The maps as .npz, for whoever wants the numbers. */
  window.SPF.maps =
    blob &&
    (() => {
      const files = {};
      for (const [name, { at, shape }] of Object.entries(value.arrays)) {
        files[`${name}.npy`] = npy(blob.subarray(at, at + shape.reduce((x, y) => x * y, 1)), shape);
      }
      const { layers, chain, timesteps, scales } = value;
      files["about.json"] = new TextEncoder().encode(
        JSON.stringify({ layers, chain, timesteps, scales }, null, 1),
      );
      return zip(files);
    });
  document.dispatchEvent(new CustomEvent("spf:trace"));
}
watch("value", () => update(props.value));
update(props.value);
