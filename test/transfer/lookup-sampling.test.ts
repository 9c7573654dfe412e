import test from 'ava'
import { createLookupSampling, SAMPLE_EVERY, TRIAL_CHUNKS } from '../../transfer/lookup-sampling.ts'

const WINDOW = Array.from({ length: 64 }, (_, entry) => entry)

/** Looks up windows of which `known` tells what is known of them; gives what was asked and what was found. */
function windows() {
  const sampling = createLookupSampling<string>()
  return (known: (entry: number) => boolean) => {
    const asked: number[] = []
    const found = sampling.among(WINDOW, (entry) => {
      asked.push(entry)
      return known(entry) ? `chunk ${entry}` : undefined
    })
    return { asked: asked.length, found: [...found.keys()].toSorted((a, b) => a - b), values: found }
  }
}

const none = () => false

test('among() asks for every chunk, until so many in a row are not known', (t) => {
  const look = windows()
  for (let seen = 0; seen < TRIAL_CHUNKS; seen += WINDOW.length) t.is(look(none).asked, WINDOW.length)
  for (let i = 0; i < 3; i++) t.is(look(none).asked, WINDOW.length / SAMPLE_EVERY)
})

test('among() asks for every chunk as long as one is known now and then', (t) => {
  const look = windows()
  for (let i = 0; i < 40; i++)
    t.deepEqual(
      look((entry) => i % 7 === 0 && entry === 63),
      {
        asked: 64,
        found: i % 7 === 0 ? [63] : [],
        values: new Map(i % 7 === 0 ? [[63, 'chunk 63']] : []),
      },
    )
})

test('among() asks for all of a window, and those behind it, where a chunk of its sample is known', (t) => {
  const look = windows()
  for (let seen = 0; seen < 2 * TRIAL_CHUNKS; seen += WINDOW.length) look(none)
  const run = look((entry) => entry >= 20 && entry < 40)
  t.deepEqual(run.found, WINDOW.slice(20, 40))
  t.is(run.asked, 64)
  t.is(look(none).asked, 64)
})

test('among() asks nothing about nothing', (t) => {
  t.is(createLookupSampling().among([], () => t.fail()).size, 0)
})
